"""A session that takes several reads at once."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from edge_agent.current import DevicePhase
from edge_agent.driver import Request
from edge_agent.errors import ExchangeError
from edge_agent.model import Quality, ReadingBatch
from tests.servers.supervised import AskedFor, Bench, Plant


@dataclass
class Wide(Plant):
    """Each point is an exchange of its own, and several are taken at once."""

    max_in_flight: int = 2
    dead: frozenset[int] = frozenset()
    begun: list[int] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)
    under_way: int = 0

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Request]:
        return [AskedFor([point]) for point in points]

    async def read(self, request: Request) -> ReadingBatch:
        self.begun += request.points
        self.under_way += 1
        self.at_once.append(self.under_way)
        try:
            await asyncio.sleep(0)
            if self.dead.issuperset(request.points):
                raise ExchangeError("no answer")
            return await super().read(request)
        finally:
            self.under_way -= 1


async def test_a_session_that_takes_several_reads_at_once_gets_them() -> None:
    bench = Bench(Wide())
    async with bench.running():
        plant = bench.plant
        assert isinstance(plant, Wide)
        assert plant.begun == [0, 1, 2]
        assert max(plant.at_once) == 2
        assert sorted(index for batch in bench.kept for column in batch.columns for index in column.points) == [
            0,
            1,
            2,
        ]


async def test_what_fails_at_once_counts_once() -> None:
    bench = Bench(Wide(max_in_flight=3, answers=False))
    async with bench.running():
        await bench.clock.advance(1)
        assert bench.phase() is not DevicePhase.OFFLINE
        await bench.clock.advance(1)
        assert bench.phase() is DevicePhase.OFFLINE
        assert len(bench.plant.reads) == 0


async def test_what_fails_among_others_at_once_costs_them_nothing() -> None:
    bench = Bench(Wide(max_in_flight=3, dead=frozenset({1})))
    async with bench.running():
        await bench.clock.advance(10.0)
        assert bench.phase() is DevicePhase.ONLINE
        assert bench.plant.connects == 1
        assert sum(reads == [2] for reads in bench.plant.reads) >= 10


async def test_a_session_that_dies_with_several_reads_under_way_is_one_loss() -> None:
    bench = Bench(Wide(max_in_flight=3))
    async with bench.running():
        bench.plant.is_up = False
        await bench.clock.advance(2.0)
        assert bench.phase() is DevicePhase.OFFLINE
        assert bench.bad_batches() == [Quality.BAD_NO_COMMUNICATION]
        bench.plant.is_up = True
        await bench.clock.advance(5.0)
        assert bench.phase() is DevicePhase.ONLINE


async def test_a_crash_with_several_reads_under_way_is_a_crash() -> None:
    bench = Bench(Wide(max_in_flight=3, crash=KeyError("x")))
    async with bench.running():
        assert "the driver is broken" in bench.current.reason
