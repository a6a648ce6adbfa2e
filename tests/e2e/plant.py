"""What the tests of the whole agent share: a plant of Modbus units, a broker that lasts, waiting."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.oracle import Oracle
from tests.servers.agent import EDGE_AGENT, AgentProcess
from tests.servers.mosquitto import Mosquitto, mosquitto
from tests.servers.subscriber import Received, Subscriber, subscriber

POINTS = 40


def until(condition: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, f"did not happen within {within_s} s: {what}"
        time.sleep(0.02)


def modbus_yaml(port: int, *, units: int = 2, interval: str = "50ms", points: list[str] | None = None) -> str:
    lines = []
    for unit in range(1, units + 1):
        lines += [f"  - id: press-{unit}", "    driver: modbus", "    host: 127.0.0.1", f"    port: {port}"]
        lines += [f"    unit: {unit}", f"    interval: {interval}", "    retry_max: 1s", "    points:"]
        lines += points or [
            f"      - {{name: r{n}, holding: {n}, type: uint16, unit: bar}}" for n in range(POINTS)
        ]
    return "\n".join(lines) + "\n"


def head_yaml(broker: Mosquitto) -> str:
    return (
        "gateway: {id: gw-e2e}\n"
        'identifiers: {prefix: "88.000.7", allow_placeholder: true}\n'
        "publishers:\n"
        "  - id: cloud\n"
        "    type: mqtt\n"
        f'    servers: ["mqtt://127.0.0.1:{broker.port}"]\n'
        "    retry_max: 2s\n"
        "devices:\n"
    )


def device(
    name: str, port: int, unit: int, interval: str = "1s", point: str = "temperature", host: str = "127.0.0.1"
) -> str:
    lines = [
        f"  - id: {name}",
        "    driver: modbus",
        f"    host: {host}",
        f"    port: {port}",
        f"    unit: {unit}",
    ]
    lines += [f"    interval: {interval}", "    points:", f"      - {{name: {point}, holding: 1, type: uint16}}"]
    return "\n".join(lines) + "\n"


def reload(one: AgentProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(EDGE_AGENT), "reload", "--socket", str(one.folder / "control.sock"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def lasting_mosquitto() -> Iterator[Mosquitto]:
    """A broker that remembers its subscribers' sessions, and what they have not got, over a restart."""
    with mosquitto(options="persistence true\nmax_queued_messages 0", is_started=False) as broker:
        with (broker.directory / "mosquitto.conf").open("a") as file:
            file.write(f"\npersistence_location {broker.directory}/\n")
        broker.start()
        yield broker


@contextmanager
def lasting_broker() -> Iterator[tuple[Mosquitto, Subscriber]]:
    """Such a broker, and a subscriber with a session that lasts."""
    with lasting_mosquitto() as broker, subscriber(broker.port, arguments=["-i", "watcher", "-c"]) as received:
        yield broker, received


def settled(oracle: Oracle, received: Subscriber, one: AgentProcess) -> None:
    """Start the stopped agent once more with its devices switched off, until all that it has is delivered."""
    one.write(one.yaml.replace("    driver: modbus", "    enabled: false\n    driver: modbus"))
    one.start()
    until(lambda: one.metrics()["edge_agent_outbox_pending_rows"] == 0, "the outbox is empty", within_s=60)
    assert one.stop() == 0

    def complete() -> bool:
        fresh = Oracle()
        fresh.take(list(received.messages))
        return len(fresh.missing(one.state)) <= fresh.told_rows()

    until(complete, "everything committed arrives", within_s=20)
    oracle.take(list(received.messages))
    print(oracle.report(one.state))


def drained(one: AgentProcess, fresh_rows: int = 10) -> None:
    """Wait until no more is pending than what was committed or confirmed just now."""
    until(lambda: one.metrics()["edge_agent_outbox_pending_rows"] <= fresh_rows, "the backlog drains", within_s=60)


@contextmanager
def started(one: AgentProcess) -> Iterator[AgentProcess]:
    """Start the agent; when the block ends, however it does, no process is left."""
    try:
        one.start()
        yield one
    finally:
        if one.process is not None and one.process.poll() is None:
            one.kill()


def latest(received: Subscriber, device: str) -> dict[str, tuple[Any, dict[str, Any], dict[str, Any]]]:
    """Return point → (last value, its columns, the message) of a device."""
    found: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {}
    for message in received.on(f"/{device}/data"):
        body = message.json()
        for row in body["rows"]:
            for name, columns in row["points"].items():
                found[name] = (columns["v"][-1], columns, body | {"t": row["t"]})
    return found


def in_streams(messages: list[Received]) -> dict[tuple[str, bool], list[int]]:
    """Return device, historical → rows in the order of their first arrival."""
    seen: set[int] = set()
    streams: dict[tuple[str, bool], list[int]] = {}
    for message in messages:
        if not message.topic.endswith("/data"):
            continue
        body = message.json()
        for row in body["rows"]:
            if row["row"] not in seen:
                seen.add(row["row"])
                streams.setdefault((body["device"], row["historical"]), []).append(row["row"])
    return streams


def check_order_within(message: Received) -> None:
    if message.topic.endswith("/data"):
        for row in message.json()["rows"]:
            for columns in row["points"].values():
                assert columns["dt_us"] == sorted(columns["dt_us"]), "readings of a point came out of order"
