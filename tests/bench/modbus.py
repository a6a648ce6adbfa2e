"""Scenarios ``modbus-…``: PLCs → agent → durable outbox → Mosquitto, each a process of its own.

``modbus-max`` offers more than the agent can take, so that it always has work; what it gets done for each second
of CPU is the figure. The others offer what a plant does.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.profile import sampled
from tests.servers.agent import agent
from tests.servers.mosquitto import mosquitto

WARM_UP_S = 8.0


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
    # 1,000,000 readings a second are offered. Prototype with a lean transport and an own MQTT client: 0.83 µs.
    Scenario("modbus-max", 10, 1000, 10, 0.83),
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
            f"{cpu_us:.2f}",
            f"{1e6 / cpu_us:,.0f}",
            f"{self.scenario.floor_us:.2f}",
            f"{cpu_us / self.scenario.floor_us:.1f}×",
            f"{self.overruns:.0f}",
            self.lateness_p99_ms,
            f"{self.rss_mib:.0f}",
        ]


HEADER = [
    "scenario", "offered/s", "read/s", "acknowledged/s", "CPU of one core", "µs/reading", "readings/s per core",
    "prototype µs", "ratio", "overruns", "lateness p99", "RSS MiB",
]  # fmt: skip


def run(scenario: Scenario, seconds: float, profile: list[list[str]] | None = None) -> Outcome:
    """Run one scenario and measure the agent's process alone; ``profile`` gets where its CPU goes."""
    with (
        tempfile.TemporaryDirectory() as folder,
        plc() as plc_port,
        mosquitto() as broker,
        agent(Path(folder), _yaml(scenario, plc_port, broker.port), "1s") as one,
    ):
        assert one.process is not None
        process = psutil.Process(one.process.pid)
        time.sleep(WARM_UP_S)
        before, cpu_before, begin_s = one.metrics(), process.cpu_times(), time.monotonic()
        if profile is None:
            time.sleep(seconds)
        else:
            with sampled(process.pid, seconds) as rows:
                time.sleep(seconds)
            profile += rows
        after, cpu_after, end_s = one.metrics(), process.cpu_times(), time.monotonic()
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
def plc() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.plc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


def _percentile(before: dict[str, float], after: dict[str, float], name: str, share: float) -> str:
    buckets = sorted(
        (float(key.split("|")[1]), after[key] - before.get(key, 0.0)) for key in after if key.startswith(name)
    )
    total = buckets[-1][1] if buckets else 0.0
    for bound_s, count in buckets:
        if total and count >= share * total:
            return f"≤ {bound_s * 1e3:g} ms"
    return "-"


def _yaml(scenario: Scenario, plc_port: int, broker_port: int) -> str:
    lines = [
        "gateway: {id: bench}",
        'identifiers: {prefix: "88.000.1", allow_placeholder: true}',
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
