"""Nothing of the agent grows with what has gone through it: memory, descriptors, threads.

A broker and a device come and go all the time. ``SOAK_S=3600 SOAK_INTERVAL=40ms pytest -m chaos
tests/chaos/test_soak.py -s`` is the hour by hand, a million and a half batches.
"""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.plant import head_yaml, modbus_yaml
from tests.servers.agent import AgentProcess
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import mosquitto
from tests.servers.ports import free_port

SOAK_S = float(os.environ.get("SOAK_S", "90"))
SOAK_INTERVAL = os.environ.get("SOAK_INTERVAL", "10ms")
UNITS = 20
BROKER_AWAY_EVERY_S = 10.0
DEVICE_AWAY_EVERY_S = 7.0
FLAPPING = "press-that-comes-and-goes"
PARTS = 6  # of the last two thirds, none shorter than the periods above
GROWTH_MAX_BYTES = 4 * 2**20
ONCE_MAX_BYTES = 8 * 2**20
BATCHES_MIN = SOAK_S * 300  # an hour is a million

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(SOAK_S + 120)]


@dataclass(frozen=True, slots=True)
class Sample:
    memory_bytes: int  # of its own: what is mapped from files comes and goes as the machine likes
    descriptors: int
    threads: int


def sample(process_id: int) -> Sample:
    folder = Path(f"/proc/{process_id}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text("utf-8").splitlines())
    return Sample(
        int(status["RssAnon"].split()[0]) * 1024,
        len(list((folder / "fd").iterdir())),
        int(status["Threads"]),
    )


class Flapping:
    """What comes and goes: half of each period it is away."""

    def __init__(self, period_s: float, come: Callable[[], None], go: Callable[[], None]) -> None:
        self._period_s, self._come, self._go = period_s, come, go
        self.is_away = False

    def at(self, past_s: float) -> None:
        if (past_s % self._period_s > self._period_s / 2) != self.is_away:
            (self._come if self.is_away else self._go)()
            self.is_away = not self.is_away

    def end(self) -> None:
        if self.is_away:
            self._come()


def test_memory_descriptors_and_threads_do_not_grow_with_the_batches(folder: Path) -> None:
    with mosquitto() as broker, libmodbus_server() as plc, ExitStack() as flaps:
        points = [f"      - {{name: r{n}, holding: {n}, type: uint16}}" for n in range(4)]
        yaml = modbus_yaml(plc.port, units=UNITS, interval=SOAK_INTERVAL, points=points)
        port = free_port()
        flapping = modbus_yaml(port, units=1, interval=SOAK_INTERVAL, points=points).replace("press-1", FLAPPING)
        agent = AgentProcess(folder, head_yaml(broker) + yaml + flapping)

        def switch_on() -> None:
            flaps.enter_context(libmodbus_server(port=port))

        comers = [
            Flapping(BROKER_AWAY_EVERY_S, broker.start, broker.stop),
            Flapping(DEVICE_AWAY_EVERY_S, switch_on, flaps.close),
        ]
        switch_on()
        agent.start()
        samples, began_s = [], time.monotonic()
        try:
            assert agent.process is not None
            while (past_s := time.monotonic() - began_s) < SOAK_S:
                samples.append(sample(agent.process.pid))
                for each in comers:
                    each.at(past_s)
                time.sleep(0.2)
            metrics = agent.metrics()
        finally:
            for each in comers:
                each.end()
            agent.stop()
    exchanges = metrics["edge_agent_exchanges_total"]
    # The first third is for caches and pools to fill. A leak grows in every part of what follows; a buffer that
    # was never as full before grows in one of them, once.
    middle, last = samples[len(samples) // 3 : 2 * len(samples) // 3], samples[2 * len(samples) // 3 :]
    settled = middle + last
    width = len(settled) // PARTS
    parts = [settled[i * width : (i + 1) * width] for i in range(PARTS)]
    levels = [statistics.median(one.memory_bytes for one in part) for part in parts]
    growth = statistics.median(after - before for before, after in pairwise(levels)) * (PARTS - 1)
    descriptors = max(one.descriptors for one in middle), max(one.descriptors for one in last)
    threads = max(one.threads for one in middle), max(one.threads for one in last)
    told = ", ".join(f"{level / 2**20:.2f}" for level in levels)
    print(
        f"\n{exchanges:,.0f} batches in {SOAK_S:.0f} s: {told} MiB in parts of the last two thirds, a steady "
        f"growth of {growth / 2**20:.2f} MiB; descriptors {descriptors}, threads {threads}, middle and last third"
    )
    assert exchanges > BATCHES_MIN, "too little went through it to say anything"
    assert metrics["edge_agent_device_losses_total"] >= SOAK_S // DEVICE_AWAY_EVERY_S - 1
    assert growth < GROWTH_MAX_BYTES
    assert levels[-1] - levels[0] < ONCE_MAX_BYTES
    assert descriptors[1] <= descriptors[0] + 1
    assert threads[1] <= threads[0] + 1
