"""Scenarios ``modbus-…``: PLCs → agent → durable outbox → Mosquitto, each a process of its own.

``modbus-max`` offers more than the agent can take, so that it always has work; what it gets done for each second
of CPU is the figure. The others offer what a plant does.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.load import Outcome, measure


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


def run(scenario: Scenario, seconds: float, profile: list[list[str]] | None = None) -> Outcome:
    """Run one scenario; ``profile`` gets where the agent's CPU goes."""
    with plc() as plc_port:
        return measure(scenario, lambda broker_port: _yaml(scenario, plc_port, broker_port), seconds, profile)


@contextmanager
def plc() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.plc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


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
