"""Scenarios ``opcua-…``: an OPC UA server → agent → durable outbox → Mosquitto, each a process of its own.

The server is ``opcua_plant``. ``opcua-read`` offers more than any plant does; what the agent gets done for each
second of CPU is the figure.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.load import Outcome, measure
from tests.servers.opcua_server import NAMESPACE


@dataclass(frozen=True)
class Scenario:
    """How much is offered, and what a prototype needs that only decodes, with no store and no broker behind it."""

    name: str
    devices: int
    points: int
    interval_ms: int
    mode: str
    floor_us: float
    lag_us: int = 0

    @property
    def offered_per_s(self) -> float:
        return self.devices * self.points * 1000 / self.interval_ms


SCENARIOS = (
    # Prototype: asyncua's session with an own decoder of DataChangeNotification, 1,000 items at 10 Hz.
    Scenario("opcua-sub-1000", 1, 1000, 100, "subscribe", 2.0),
    Scenario("opcua-sub-5000", 1, 5000, 100, "subscribe", 2.0),
    Scenario("opcua-times-5000", 1, 5000, 100, "subscribe", 2.0, lag_us=20_000),
    # For comparison: what a value takes asyncua to read.
    Scenario("opcua-read", 4, 1000, 10, "poll", 17.0),
)


def run(scenario: Scenario, seconds: float, profile: list[list[str]] | None = None) -> Outcome:
    """Run one scenario; ``profile`` gets where the agent's CPU goes."""
    with plant(scenario.points, scenario.lag_us) as port:
        return measure(scenario, lambda broker_port: _yaml(scenario, port, broker_port), seconds, profile)


@contextmanager
def plant(points: int, lag_us: int) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.opcua_plant", str(points), str(lag_us)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


def _yaml(scenario: Scenario, port: int, broker_port: int) -> str:
    lines = [
        "gateway: {id: bench}",
        'identifiers: {prefix: "88.000.1", allow_placeholder: true}',
        "publishers:",
        f'  - {{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1:{broker_port}"]}}',
        "devices:",
    ]
    for number in range(scenario.devices):
        lines += [
            f"  - id: server-{number}",
            "    driver: opcua",
            f"    url: opc.tcp://127.0.0.1:{port}",
            f"    interval: {scenario.interval_ms}ms",
            f"    mode: {scenario.mode}",
            "    points:",
        ]
        lines += [
            f'      - {{name: p{point}, node: "nsu={NAMESPACE};s=v{point}"}}' for point in range(scenario.points)
        ]
    return "\n".join(lines) + "\n"
