"""Several devices on one unit of a line: who knows that it is silent, and who pays for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from edge_agent.collect.line import Lines
from edge_agent.collect.station import YIELD_S, Station
from edge_agent.current import DevicePhase
from edge_agent.driver import Request
from edge_agent.errors import ExchangeError
from edge_agent.model import DeviceId, Quality, ReadingBatch
from edge_agent.testing.fakes import FakeClock, FakeContext
from tests.servers.supervised import Bench, Plant

A, B = DeviceId("a"), DeviceId("b")


class Unit:
    """A unit behind a gateway: when it was asked in vain."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.is_well = True
        self.answer_s = self.close_s = 0.0
        self.unanswered_s: list[float] = []


class Asking(Plant):
    """One device of a unit, whose own points may never be answered."""

    unit: Unit
    is_answered = True

    async def read(self, request: Request) -> ReadingBatch:
        if not (self.unit.is_well and self.is_answered):
            self.unit.unanswered_s.append(self.unit.clock.monotonic_s())
            raise ExchangeError("no answer")
        if self.unit.answer_s:
            await self.unit.clock.sleep(self.unit.answer_s)
        return await super().read(request)

    async def close(self) -> None:
        await self.unit.clock.sleep(self.unit.close_s)


def device(unit: Unit, lines: Lines, name: DeviceId, *, line: str = "gateway-1") -> Bench:
    plant = Asking()
    plant.unit = unit
    return Bench(plant, context=FakeContext(name, unit.clock, lines), station="unit 7", line=line)


@asynccontextmanager
async def all_running(*benches: Bench) -> AsyncIterator[None]:
    if not benches:
        yield
        return
    async with benches[0].running(), all_running(*benches[1:]):
        yield


async def count_tries(devices: int) -> int:
    """Return how often a unit is asked in vain within an hour."""
    unit, lines = Unit(), Lines()
    benches = [device(unit, lines, DeviceId(f"d{number}")) for number in range(devices)]
    async with all_running(*benches):
        await unit.clock.advance(60)
        unit.is_well = False
        await unit.clock.advance(3600)
    return len(unit.unanswered_s)


async def test_a_dead_unit_is_tried_as_often_for_ten_devices_as_for_one() -> None:
    one, ten = await count_tries(1), await count_tries(10)
    assert one <= 3 + 6 + 3600 / 60
    assert ten <= one


async def test_all_devices_of_a_dead_unit_are_lost_and_come_back_together() -> None:
    unit, lines = Unit(), Lines()
    benches = [device(unit, lines, name) for name in (A, B)]
    async with all_running(*benches):
        await unit.clock.advance(60)
        unit.is_well = False
        await unit.clock.advance(5)
        assert [bench.phase() for bench in benches] == [DevicePhase.OFFLINE] * 2
        await unit.clock.advance(600)
        unit.is_well = True
        await unit.clock.advance(64)
        assert [bench.phase() for bench in benches] == [DevicePhase.ONLINE] * 2
    for bench in benches:
        assert bench.bad_batches() == [Quality.BAD_NO_COMMUNICATION]
        assert bench.value("device_losses_total") == 1


async def test_who_was_kept_off_by_a_try_that_succeeds_does_not_wait_for_long() -> None:
    unit, lines = Unit(), Lines()
    benches = [device(unit, lines, DeviceId(f"d{number}")) for number in range(4)]
    async with all_running(*benches):
        await unit.clock.advance(60)
        unit.is_well = False
        await unit.clock.advance(200)
        unit.is_well, unit.answer_s, unit.close_s = True, 0.9, 1.5
        for _ in range(240):
            await unit.clock.advance(0.3)
            if any(bench.phase() is DevicePhase.ONLINE for bench in benches):
                break
        await unit.clock.advance(4)
        assert [bench.phase() for bench in benches] == [DevicePhase.ONLINE] * 4
        unit.close_s = 0.0


async def test_a_device_whose_own_points_are_never_answered_takes_no_other_along() -> None:
    unit, lines = Unit(), Lines()
    mute, well = device(unit, lines, A), device(unit, lines, B)
    assert isinstance(mute.plant, Asking)
    mute.plant.is_answered = False
    async with all_running(mute, well):
        await unit.clock.advance(600)
        assert [mute.phase(), well.phase()] == [DevicePhase.OFFLINE, DevicePhase.ONLINE]
        assert well.bad_batches() == []
        assert len(well.plant.reads) >= 598
        unit.is_well = False
        await unit.clock.advance(600)
        assert well.phase() is DevicePhase.OFFLINE
        unit.is_well = True
        await unit.clock.advance(130)
        assert well.phase() is DevicePhase.ONLINE, "the mute one took every try"


async def test_the_same_number_on_another_line_is_another_unit() -> None:
    lines, dead, well = Lines(), Unit(), Unit()
    well.clock = dead.clock
    one, other = device(dead, lines, A), device(well, lines, B, line="gateway-2")
    async with all_running(one, other):
        dead.is_well = False
        await dead.clock.advance(600)
        assert [one.phase(), other.phase()] == [DevicePhase.OFFLINE, DevicePhase.ONLINE]
    assert len(other.plant.reads) >= 600
    assert other.bad_batches() == []


async def test_tries_are_one_at_a_time_and_never_closer_than_the_pause() -> None:
    unit, lines = Unit(), Lines()
    async with all_running(*(device(unit, lines, DeviceId(f"d{number}")) for number in range(4))):
        unit.is_well = False
        await unit.clock.advance(4000)
    pauses_s = [after - before for before, after in pairwise(unit.unanswered_s)][-30:]
    assert min(pauses_s) >= 59


def test_whoever_tried_last_lets_another_one_try_first() -> None:
    station = Station()
    for name in (A, B):
        station.add(name)
    station.failed(A, "no answer", 0.0, 10.0, 1)
    assert (station.wait_s(A, 9.0), station.wait_s(B, 9.0)) == (1 + YIELD_S, 1)
    assert station.begin(A, 9.0) == "no answer, found by a"
    assert station.begin(B, 10.0) == ""
    assert station.wait_s(A, 10.0) == YIELD_S, "while another one tries"
    station.end(B)
    station.failed(B, "no answer", 10.0, 20.0, 2)
    assert (station.wait_s(A, 20.0), station.attempts) == (0, 2)


def test_who_is_lost_while_others_are_answered_is_lost_alone() -> None:
    station = Station()
    station.add(A)
    station.add(B)
    station.answered(5.0)
    station.failed(A, "no answer", 4.0, 30.0, 1)
    assert station.begin(B, 6.0) == ""
    assert station.wait_s(A, 6.0) == 0
