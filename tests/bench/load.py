"""Devices → agent → durable outbox → Mosquitto, each a process of its own, and what the agent needs for it."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from tests.bench.profile import sampled
from tests.servers.agent import agent
from tests.servers.mosquitto import mosquitto

WARM_UP_S = 8.0


class Scenario(Protocol):
    """How much is offered, and what a prototype without validation, configuration or codes needs for a reading."""

    @property
    def name(self) -> str: ...

    @property
    def floor_us(self) -> float: ...

    @property
    def offered_per_s(self) -> float: ...


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


def measure(
    scenario: Scenario, yaml: Callable[[int], str], seconds: float, profile: list[list[str]] | None = None
) -> Outcome:
    """Run the agent on what ``yaml`` gives for a broker's port, and measure its process alone.

    ``profile`` gets where its CPU goes.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        mosquitto() as broker,
        agent(Path(folder), yaml(broker.port), "1s") as one,
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


def _percentile(before: dict[str, float], after: dict[str, float], name: str, share: float) -> str:
    buckets = sorted(
        (float(key.split("|")[1]), after[key] - before.get(key, 0.0)) for key in after if key.startswith(name)
    )
    total = buckets[-1][1] if buckets else 0.0
    for bound_s, count in buckets:
        if total and count >= share * total:
            return f"≤ {bound_s * 1e3:g} ms"
    return "-"
