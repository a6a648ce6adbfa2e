"""One Modbus device as a running agent collects it, without an outbox."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edge_agent.clock import SystemClock
from edge_agent.collect.line import Lines
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.packed import Packed
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.current import DeviceCurrent
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, Point, PointName, PointTable, Quality, ReadingBatch
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus import DRIVER
from edge_agent_modbus.config import ModbusDevice


class Collected:
    """A device under its supervisor, and what it gave."""

    def __init__(self, config: ModbusDevice, lines: Lines | None = None) -> None:
        clock = SystemClock()
        device = DeviceId(config.id)
        table = PointTable(device, tuple(Point(PointName(point.name)) for point in config.points))
        self.kept: list[ReadingBatch] = []
        self.context = FakeContext(config.id, clock, lines)
        self.current = DeviceCurrent(table, clock)
        self._supervisor = DeviceSupervisor(
            DeviceOptions(
                id=device,
                spec=DRIVER,
                config=Packed(config),
                table=table,
                intervals_s=(config.interval,) * len(config.points),
                connect_timeout_s=config.connect_timeout,
                read_timeout_s=config.timeout,
                close_timeout_s=config.close_timeout,
                max_failures=config.max_failures,
                retry_max_s=config.retry_max,
                name="",
            ),
            self.context,
            self._keep,
            lambda *_: None,  # Modbus devices keep nothing, so they lose nothing
            self.current,
            clock=clock,
            metrics=Metrics(),
            random=lambda: 0.0,  # connect again at once
        )

    async def _keep(self, _table: PointTable, batch: ReadingBatch) -> None:
        self.kept.append(batch)

    async def has_kept(self, count: int) -> None:
        """Return when there are that many batches."""
        await eventually(lambda: len(self.kept) >= count)

    def good(self) -> list[tuple[int, Any]]:
        """Return point and value of every Good reading."""
        return [
            (point, column.values[position])
            for batch in self.kept
            for column in batch.columns
            if column.values is not None
            for position, point in enumerate(column.points)
            if column.statuses is None or column.statuses[position] == Quality.GOOD
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Collect while the block runs."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._supervisor.run())
            yield
            task.cancel()
