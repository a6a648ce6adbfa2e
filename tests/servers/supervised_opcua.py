"""An OPC UA device under the agent's supervisor, and whether every hole in its readings was told of."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import edge_agent_opcua.session  # noqa: F401 - loaded ahead: that takes longer than an attempt may, here
from edge_agent.clock import SystemClock
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.packed import Packed
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.current import DeviceCurrent
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, Lost, Point, PointName, PointTable, Quality, ReadingBatch
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua import DRIVER
from edge_agent_opcua.config import OpcUaDevice
from tests.servers.opcua.reading import Reading, points, readings

SKIPPED = 3  # samples that a busy server leaves out by itself
SLACK_NS = 1_000_000_000


class Supervised:
    """A supervised device: the point Counter is reported, Sine is polled, ``more`` as they are.

    Args:
        retry_max_s: the longest pause between two attempts, and as there is no jitter, soon each of them.
        connect_s: the longest that an attempt may take.
        keys: of the device.
    """

    def __init__(
        self,
        url: str,
        *,
        retry_max_s: float = 0.02,
        connect_s: float = 2.0,
        more: Sequence[dict[str, Any]] = (),
        context: FakeContext | None = None,
        **keys: Any,
    ) -> None:
        table = [*points(["Counter"]), *points(["Sine"], mode="poll"), *more]
        written = {"id": "cnc", "driver": "opcua", "url": url, "interval": "100ms"}
        written |= {"keep_alive": "500ms", "timeout": "500ms", "connect_timeout": f"{connect_s}s"}
        self.config = OpcUaDevice.model_validate(written | {"points": table} | keys)
        device = DeviceId("cnc")
        names = PointTable(device, tuple(Point(PointName(point.name)) for point in self.config.points))
        intervals_s = (0.1,) * len(table)
        options = DeviceOptions(
            device, DRIVER, Packed(self.config), names, intervals_s, connect_s, 0.5, 0.5, 3, retry_max_s
        )
        self.clock, self.metrics = SystemClock(), Metrics()
        self.current = DeviceCurrent(names, self.clock)
        self.attempts = 0
        self.kept: list[ReadingBatch] = []
        self.lost: list[Lost] = []
        self.supervisor = DeviceSupervisor(
            options,
            context or FakeContext("cnc", self.clock),
            self._keep,
            lambda _, lost: self.lost.append(lost),
            self.current,
            clock=self.clock,
            metrics=self.metrics,
            random=self._random,
        )

    def _random(self) -> float:
        self.attempts += 1
        return 1.0

    async def _keep(self, _table: PointTable, batch: ReadingBatch) -> None:
        self.kept.append(batch)

    @property
    def losses(self) -> int:
        """How often the device was said to be lost."""
        lost = [Quality.BAD_NO_COMMUNICATION] * len(self.config.points)
        return sum(list(column.statuses or ()) == lost for batch in self.kept for column in batch.columns)

    @property
    def is_fresh(self) -> bool:
        """Whether the points that change gave a reading within the last half second."""
        since_ns = self.clock.now_ns() - 500_000_000
        return all(
            self.current.latest(i).time_ns > since_ns and self.current.latest(i).status == 0 for i in (0, 1)
        )

    def of(self, name: str) -> list[Reading]:
        """Return the readings of one point, in order of arrival."""
        return [reading for batch in self.kept for point, reading in readings(batch, self.config) if point == name]

    def holes_not_told(self) -> list[tuple[Reading, Reading]]:
        """Return the readings on both sides of each hole in Counter that no loss covers."""
        counted = [reading for reading in self.of("Counter") if reading.value is not None]
        return [
            (before, after)
            for before, after in pairwise(counted)
            if not 0 <= after.value - before.value <= 1 + SKIPPED
            and not any(
                lost.t_first_ns <= before.time_ns + SLACK_NS and lost.t_last_ns >= after.time_ns - SLACK_NS
                for lost in self.lost
                if 0 in lost.points
            )
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.supervisor.run())
            yield
            task.cancel()
