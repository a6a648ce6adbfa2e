"""A device whose behaviour a test sets, under the agent's supervisor, with a clock that is turned by hand."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.packed import Packed
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.current import DeviceCurrent, DevicePhase
from edge_agent.driver import Context, DeviceModel, DriverSpec, Emit, PointModel, Request
from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent.metrics import Metrics
from edge_agent.model import (
    Column,
    DataType,
    DeviceId,
    Lost,
    Point,
    PointName,
    PointTable,
    Quality,
    ReadingBatch,
)
from edge_agent.testing.fakes import FakeClock, FakeContext

DEVICE = DeviceId("press-01")
POINTS = [PointModel(name=name) for name in "abc"]


@dataclass
class AskedFor:
    points: Sequence[int]

    def __str__(self) -> str:
        return f"read {list(self.points)}"


@dataclass
class Plant:
    """A device whose behaviour a test sets; also its session."""

    reported: Sequence[int] = ()
    polled: Sequence[int] = (0, 1, 2)
    is_up: bool = True
    answers: bool = True
    crash: BaseException | None = None
    refuses: frozenset[int] = frozenset()
    connects: int = 0
    closes: int = 0
    reads: list[list[int]] = field(default_factory=list)
    plans: list[frozenset[int]] = field(default_factory=list)
    hangs: bool = False

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Request]:
        self.plans.append(frozenset(refused))
        return [AskedFor(points)]

    async def connect(self) -> "Plant":
        if not self.is_up:
            raise DeviceUnavailableError("nobody answers")
        self.connects += 1
        return self

    async def read(self, request: Request) -> ReadingBatch:
        if self.crash is not None:
            raise self.crash
        if self.hangs:
            await asyncio.Event().wait()
        if not self.is_up:
            raise DeviceUnavailableError("connection reset")
        if not self.answers:
            raise ExchangeError("no answer")
        self.reads.append(list(request.points))
        points = array("H", request.points)
        statuses = array("I", [Quality.BAD_NOT_READABLE if index in self.refuses else 0 for index in points])
        column = Column(DataType.INT16, points, array("h", [7] * len(points)), statuses)
        return ReadingBatch(DEVICE, 1, (column,), self.refuses)

    async def run(self, emit: Emit) -> None:
        await emit(ReadingBatch(DEVICE, 2, (Column(DataType.INT16, array("H", self.reported), array("h", [9])),)))
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closes += 1


class Refusing(Plant):
    """Asks for what is refused alone, as every driver must, and has ``read`` on a list with the time."""

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Request]:
        super().plan(points, refused)
        shared = [AskedFor([point for point in points if point not in refused])]
        return [*(request for request in shared if request.points), *(AskedFor([p]) for p in sorted(refused))]

    async def read(self, request: Request) -> ReadingBatch:
        batch = await super().read(request)
        return replace(batch, refused=self.refuses & set(request.points))


class Bench:
    """The supervisor of one device.

    Args:
        plant: what it supervises.
        context: what is learned of the device, which outlives an agent; default: nothing yet.
        points: as they are configured.
        station: who on the ``line`` answers for it; default: nobody else's.
        changes: of the ``DeviceOptions``.
    """

    def __init__(
        self,
        plant: Plant,
        *,
        context: FakeContext | None = None,
        points: Sequence[PointModel] = POINTS,
        station: str = "",
        line: str = "line",
        **changes: object,
    ) -> None:
        self.plant = plant
        context = context or FakeContext(DEVICE, FakeClock())
        clock = context.clock
        assert isinstance(clock, FakeClock)
        self.clock = clock
        self.table = PointTable(context.device, tuple(Point(PointName(point.name)) for point in points))
        self.kept: list[ReadingBatch] = []
        self.lost: list[Lost] = []
        self.metrics = Metrics()
        self.current = DeviceCurrent(self.table, self.clock)

        def create(context: Context, _config: object) -> Plant:
            context.line(line, plant.connect, lambda _: None, station=station)
            return plant

        fields: dict[str, object] = {
            "id": context.device,
            "spec": DriverSpec("fake", 0, DeviceModel, create, "a fake"),
            "config": Packed(DeviceModel.model_construct(id=DEVICE, driver="fake", points=points)),
            "table": self.table,
            "intervals_s": (1.0, 1.0, 1.0),
            "connect_timeout_s": 5.0,
            "read_timeout_s": 0.05,
            "close_timeout_s": 1.0,
            "max_failures": 3,
            "retry_max_s": 60.0,
        }
        self.supervisor = DeviceSupervisor(
            DeviceOptions(**(fields | changes)),  # type: ignore[arg-type]
            context,
            self.keep,
            lambda _, lost: self.lost.append(lost),
            self.current,
            clock=self.clock,
            metrics=self.metrics,
            random=lambda: 0.999,
        )

    async def keep(self, table: PointTable, batch: ReadingBatch) -> None:
        assert table is self.table
        self.kept.append(batch)

    def bad_batches(self) -> list[int]:
        return [
            status
            for batch in self.kept
            for column in batch.columns
            if column.data_type is DataType.NULL
            for status in set(column.statuses or ())
        ]

    def phase(self) -> DevicePhase:
        return self.current.phase

    def value(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"edge_agent_{name}", {"device": self.table.device}) or 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.supervisor.run())
            await self.clock.advance(1)
            yield
            task.cancel()
