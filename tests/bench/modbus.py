"""Scenarios ``modbus-500x30``, ``modbus-10x100``: PLCs → agent → durable outbox → Mosquitto, each a process."""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families
from tests.servers.mosquitto import mosquitto

WARM_UP_S = 8.0
AGENT = Path(sys.executable).with_name("edge-agent")


@dataclass(frozen=True)
class Scenario:
    """How much is offered, and what a prototype without validation, configuration or codes needs for a reading."""

    name: str
    devices: int
    points: int
    interval_ms: int
    floor_us: float

    @property
    def offered_per_s(self) -> float:
        return self.devices * self.points * 1000 / self.interval_ms


SCENARIOS = (
    # Prototype figures: 7.8 % of a core at 9,890 readings/s for 10 × 100 at 100 ms.
    Scenario("modbus-500x30", 500, 30, 1000, 7.9),
    Scenario("modbus-10x100", 10, 100, 100, 7.9),
)


@dataclass(frozen=True)
class Outcome:
    """What was measured over ``seconds``."""

    scenario: Scenario
    seconds: float
    cpu_s: float
    rss_mib: float
    readings: float
    acknowledged: float
    overruns: float
    lateness_p99_ms: str
    failures: float

    def row(self) -> list[str]:
        """Return the cells of the table."""
        cpu_us = self.cpu_s * 1e6 / max(1.0, self.readings)
        return [
            self.scenario.name,
            f"{self.scenario.offered_per_s:,.0f}",
            f"{self.readings / self.seconds:,.0f}",
            f"{self.acknowledged / self.seconds:,.0f}",
            f"{100 * self.cpu_s / self.seconds:.1f} %",
            f"{cpu_us:.1f}",
            f"{self.scenario.floor_us:.1f}",
            f"{cpu_us / self.scenario.floor_us:.1f}×",
            f"{self.overruns:.0f}",
            self.lateness_p99_ms,
            f"{self.rss_mib:.0f}",
        ]


HEADER = [
    "scenario", "offered/s", "read/s", "acknowledged/s", "CPU of one core", "µs/reading", "prototype µs", "ratio",
    "overruns", "lateness p99", "RSS MiB",
]  # fmt: skip


def run(scenario: Scenario, seconds: float) -> Outcome:
    """Run one scenario and measure the agent's process alone."""
    with tempfile.TemporaryDirectory() as folder, _plc() as plc_port, mosquitto() as broker:
        config = Path(folder) / "bench.yaml"
        config.write_text(_yaml(scenario, plc_port, broker.port, Path(folder)))
        with _agent(config) as (process, ops):
            time.sleep(WARM_UP_S)
            before, cpu_before, begin_s = _metrics(ops), process.cpu_times(), time.monotonic()
            time.sleep(seconds)
            after, cpu_after, end_s = _metrics(ops), process.cpu_times(), time.monotonic()
            rss = process.memory_info().rss
    cpu_s = cpu_after.user + cpu_after.system - cpu_before.user - cpu_before.system

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    return Outcome(
        scenario,
        end_s - begin_s,
        cpu_s,
        rss / 2**20,
        grown("edge_agent_readings_total"),
        grown("edge_agent_acknowledged_readings_total"),
        grown("edge_agent_overruns_total"),
        _percentile(before, after, "edge_agent_poll_lateness_seconds_bucket", 0.99),
        grown("edge_agent_exchange_failures_total"),
    )


@contextmanager
def _plc() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.plc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


@contextmanager
def _agent(config: Path) -> Iterator[tuple[psutil.Process, str]]:
    log = config.with_suffix(".log")
    with log.open("w") as sink, subprocess.Popen([AGENT, "run", config], stdout=sink, stderr=sink) as process:
        try:
            ops = json.loads(config.with_suffix(".json").read_text())["ops"]
            _until_ready(ops, process, log)
            yield psutil.Process(process.pid), ops
        finally:
            process.terminate()
            process.wait(30)


def _until_ready(ops: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        try:
            urllib.request.urlopen(f"http://{ops}/readyz", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("agent not ready: " + log.read_text())


def _metrics(ops: str) -> dict[str, float]:
    """Return each sample summed over its labels; histogram buckets keep ``le``."""
    with urllib.request.urlopen(f"http://{ops}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name + (f"|{sample.labels['le']}" if "le" in sample.labels else "")
            sums[name] = sums.get(name, 0.0) + sample.value
    return sums


def _percentile(before: dict[str, float], after: dict[str, float], name: str, share: float) -> str:
    buckets = sorted(
        (float(key.split("|")[1]), after[key] - before.get(key, 0.0)) for key in after if key.startswith(name)
    )
    total = buckets[-1][1] if buckets else 0.0
    for bound_s, count in buckets:
        if total and count >= share * total:
            return f"≤ {bound_s * 1e3:g} ms"
    return "-"


def _yaml(scenario: Scenario, plc_port: int, broker_port: int, folder: Path) -> str:
    ops = f"127.0.0.1:{_free_port()}"
    (folder / "bench.json").write_text(json.dumps({"ops": ops}))
    lines = [
        "gateway: {id: bench}",
        'identifiers: {prefix: "88.000.1", allow_placeholder: true}',
        f"outbox: {{directory: {folder}/state}}",
        f"ops: {{http: '{ops}', control_socket: {folder}/control.sock}}",
        "publishers:",
        f'  - {{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1:{broker_port}"]}}',
        "devices:",
    ]
    for number in range(scenario.devices):
        host = f"127.0.{1 + number // 250}.{1 + number % 250}"
        lines += [
            f"  - id: plc-{number}",
            "    driver: modbus",
            f"    host: {host}",
            f"    port: {plc_port}",
            f"    interval: {scenario.interval_ms}ms",
            "    points:",
        ]
        lines += [
            f"      - {{name: p{point}, holding: {point}, type: uint16}}" for point in range(scenario.points)
        ]
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
