"""Modbus devices under the agent's supervisor, and what became of each of their readings."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.collect.line import Lines
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.packed import Packed
from edge_agent.collect.schedule import phase_of
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.current import DeviceCurrent, DevicePhase
from edge_agent.driver import DeviceModel
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, Point, PointName, PointTable, Quality, ReadingBatch
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus import DRIVER
from edge_agent_modbus.transport import shared_by
from tests.servers.modbus_device import config_of, values, words
from tests.servers.modbus_rtu import value

TEN = (*range(40, 45), *range(540, 545))
TWO = (40, 540)
"""Addresses that make two requests of one size, so that their answers look alike."""


@dataclass
class Supervised:
    """One unit that is asked by two requests; see ``supervised``.

    Attributes:
        good: of each answer whose values were all Good: the first point, and when it came in the loop's time.
        wrong: with a value that was not its own.
        bad: what else came.
        losses: how often the device was gone.
    """

    unit: int
    addresses: Sequence[int]
    interval_s: float
    current: DeviceCurrent
    start_s: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    good: list[tuple[int, float]] = field(default_factory=list)
    wrong: list[dict[int, Any]] = field(default_factory=list)
    bad: list[ReadingBatch] = field(default_factory=list)
    losses: int = 0

    async def keep(self, _table: PointTable, batch: ReadingBatch) -> None:
        got = values(batch)
        if got == {index: value(self.unit, self.addresses[index]) for index in got}:
            self.good.append((min(got), asyncio.get_running_loop().time()))
            return
        statuses = set(got.values())
        if not statuses <= set(Quality):
            self.wrong.append(got)
        self.bad.append(batch)
        self.losses += statuses == {Quality.BAD_NO_COMMUNICATION}

    @property
    def is_online(self) -> bool:
        return self.current.phase is DevicePhase.ONLINE

    def on_time(self) -> float:
        """Return the part of the readings that came before the next one was due, up to the last one."""
        due_s = self.start_s + phase_of(self.current.table.device) * self.interval_s
        came = {(point, int((at_s - due_s) / self.interval_s)) for point, at_s in self.good}
        return len(came) / 2 / (max(number for _, number in came) + 1)

    def first_s(self) -> list[float]:
        """Return when the first of the two requests was answered."""
        return [at_s for point, at_s in self.good if point == 0]


def supervised(
    wire: Mapping[str, Any],
    unit: int,
    lines: Lines,
    *,
    interval_s: float,
    timeout_s: float,
    addresses: Sequence[int] = TEN,
    clock: Clock | None = None,
    retry_max_s: float = 60.0,
    name: str = "",
) -> tuple[Supervised, DeviceSupervisor]:
    """Return a device and its supervisor, which is not running yet."""
    clock = clock or SystemClock()
    timeout = f"{round(timeout_s * 1000)}ms"
    config = config_of(wire, words(*addresses), unit=unit, timeout=timeout)
    device = DeviceId(name or f"unit-{unit}")
    table = PointTable(device, tuple(Point(PointName(point.name)) for point in config.points))
    intervals_s = (interval_s,) * len(config.points)
    shared_by(config)  # as the check of the configuration does
    packed = Packed[DeviceModel](config)
    options = DeviceOptions(device, DRIVER, packed, table, intervals_s, 5.0, timeout_s, 1.0, 3, retry_max_s)
    state = Supervised(unit, addresses, interval_s, DeviceCurrent(table, clock))
    supervisor = DeviceSupervisor(
        options,
        FakeContext(device, clock, lines),
        state.keep,
        lambda *_: None,  # Modbus devices keep nothing, so they lose nothing
        state.current,
        clock=clock,
        metrics=Metrics(),
        random=lambda: 0.999,
    )
    return state, supervisor


@asynccontextmanager
async def running(*supervisors: DeviceSupervisor) -> AsyncIterator[None]:
    """Let them collect until the block ends."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(supervisor.run(), name=f"device:{supervisor.device}") for supervisor in supervisors
        ]
        yield
        for task in tasks:
            task.cancel()
