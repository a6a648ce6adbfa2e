"""A session that says which points its device has."""

import asyncio
from collections.abc import Sequence

import pytest

from edge_agent.collect import supervisor
from edge_agent.current import DevicePhase
from edge_agent.errors import DeviceUnavailableError
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeClock, FakeContext
from tests.servers.supervised import DEVICE, Bench, Plant


class Telling(Plant):
    """Tells ``says``; has a remark once it has told."""

    says = "two points"
    fails = False
    sticks = False

    def __init__(self, polled: Sequence[int] = (0, 1, 2), reported: Sequence[int] = ()) -> None:
        super().__init__(polled=polled, reported=reported)
        self.remarks: tuple[str, ...] = ()
        self.asked = 0

    async def find_points(self) -> str:
        self.asked += 1
        if self.sticks:
            await asyncio.Event().wait()
        if self.fails:
            raise DeviceUnavailableError("connection reset")
        self.remarks = ("it has one more",)
        return self.says


def bench_of(plant: Telling, found: str = "") -> tuple[Bench, FakeContext]:
    context = FakeContext(DEVICE, FakeClock())
    return Bench(plant, context=context, found=found), context


@pytest.mark.parametrize(
    ("polled", "reported"), [((0, 1, 2), ()), ((), (0, 1, 2)), ((0,), (1, 2)), ((), ())], ids=str
)
async def test_what_it_says_is_handed_on_once_a_session_and_its_remarks_are_shown(
    polled: Sequence[int], reported: Sequence[int]
) -> None:
    bench, context = bench_of(Telling(polled, reported))
    async with bench.running():
        await bench.clock.advance(5)
        assert context.found == ["two points"]
        assert bench.current.phase is DevicePhase.ONLINE
        assert bench.current.remarks == ("it has one more",)
        assert bench.plant.connects == 1
        assert len(bench.plant.reads) >= (3 if polled else 0)


async def test_what_the_device_was_built_with_is_no_news() -> None:
    bench, context = bench_of(Telling(), found="two points")
    async with bench.running():
        await bench.clock.advance(5)
    assert context.found == []


async def test_a_device_without_points_is_there_and_is_asked_again_with_a_new_session() -> None:
    plant = Telling((), ())
    plant.says = ""
    bench, context = bench_of(plant)
    async with bench.running():
        await bench.clock.advance(200)
        assert bench.current.phase is DevicePhase.ONLINE
        assert plant.asked == plant.connects > 2
        assert plant.closes == plant.connects - 1
    assert context.found == []
    assert not bench.kept


async def test_a_connection_that_breaks_while_it_is_asked_is_a_loss_as_any_other() -> None:
    plant = Telling()
    plant.fails = True
    bench, context = bench_of(plant)
    async with bench.running():
        await bench.clock.advance(5)
        assert bench.current.reason == "connection reset"
        plant.fails = False
        await bench.clock.advance(100)
        assert bench.current.phase is DevicePhase.ONLINE
    assert context.found == ["two points"]


async def test_a_device_that_never_says_it_is_collected_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "FIND_TIMEOUT_S", 0.01)
    plant = Telling()
    plant.sticks = True
    bench, context = bench_of(plant)
    async with bench.running():
        await bench.clock.advance(2)
        await eventually(lambda: "does not tell its points in time" in caplog.text)
        reads = len(plant.reads)
        await bench.clock.advance(5)
        assert len(plant.reads) > reads
        assert plant.connects == 1
    assert context.found == []
