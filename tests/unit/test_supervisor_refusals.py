"""Refused points under the supervisor: kept over restarts, asked again in time, and never a device's disguise."""

import pytest

from edge_agent.collect.refusals import KEY
from edge_agent.current import DevicePhase
from edge_agent.driver import PointModel
from edge_agent.model import Quality
from edge_agent.testing.fakes import FakeClock, FakeContext
from tests.servers.supervised import DEVICE, POINTS, Bench, Refusing


class Addressed(PointModel):
    """A point with a key of its driver's own."""

    address: int


def addressed(*addresses: int, names: str = "abc") -> list[Addressed]:
    return [Addressed(name=name, address=address) for name, address in zip(names, addresses, strict=True)]


async def run_once(context: FakeContext, refuses: set[int], points: list[Addressed], seconds: float = 3) -> Bench:
    bench = Bench(Refusing(refuses=frozenset(refuses)), context=context, points=points)
    async with bench.running():
        await bench.clock.advance(seconds)
    return bench


@pytest.fixture
def context() -> FakeContext:
    return FakeContext(DEVICE, FakeClock())


async def test_the_first_plan_after_a_restart_keeps_refused_points_apart(context: FakeContext) -> None:
    await run_once(context, {1}, addressed(10, 20, 30))
    again = await run_once(context, {1}, addressed(10, 20, 30))
    assert again.plant.plans == [{1}]
    assert again.plant.reads == [[0, 2]] * 4, "searched for, or asked before its time"
    assert again.current.latest(1).status == Quality.BAD_NOT_READABLE, "why a point has no value is told at once"
    assert again.value("refused_points") == 1


async def test_a_restart_changes_nothing_about_when_a_point_is_tried_again(context: FakeContext) -> None:
    await run_once(context, {1}, addressed(10, 20, 30), seconds=40)  # tried after 30 s, again in 60 s
    again = await run_once(context, {1}, addressed(10, 20, 30), seconds=47)
    assert again.plant.reads.count([1]) == 0
    again = await run_once(context, {1}, addressed(10, 20, 30), seconds=3)
    assert again.plant.reads.count([1]) == 1


@pytest.mark.parametrize("step_s", [-10 * 365 * 86400, -3600, 3600, 10 * 365 * 86400])
async def test_a_clock_that_steps_leaves_no_point_alone_for_longer_than_its_pause(
    context: FakeContext, step_s: float
) -> None:
    await run_once(context, {1}, addressed(10, 20, 30))
    assert isinstance(context.clock, FakeClock)
    context.clock.step(step_s)
    again = await run_once(context, set(), addressed(10, 20, 30), seconds=31)
    assert again.plant.reads[-1] == [0, 1, 2]


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(addressed(10, 21, 30), id="another address"),
        pytest.param(addressed(20, 10, 30), id="the two have changed places"),
        pytest.param(addressed(10, 20, 30, names="axc"), id="another name"),
    ],
)
async def test_a_point_that_is_another_one_inherits_nothing(context: FakeContext, points: list[Addressed]) -> None:
    await run_once(context, {1}, addressed(10, 20, 30))
    changed = await run_once(context, set(), points)
    assert changed.plant.plans == [frozenset()]
    assert changed.plant.reads[0] == [0, 1, 2]


async def test_a_refusal_goes_with_its_point_when_points_are_moved_in_the_file(context: FakeContext) -> None:
    await run_once(context, {1}, addressed(10, 20, 30))
    moved = await run_once(context, {0}, addressed(20, 10, 30, names="bac"))
    assert moved.plant.plans == [{0}]


async def test_a_changed_unit_or_class_is_no_other_point(context: FakeContext) -> None:
    await run_once(context, {1}, addressed(10, 20, 30))
    points = [point.model_copy(update={"unit": "bar"}) for point in addressed(10, 20, 30)]
    assert (await run_once(context, {1}, points)).plant.plans == [{1}]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"b": 1}', '{"b": ["x", 30, 0, 0]}', '{"b": ["x", 1e400, 0, 2147483648]}']
)
async def test_what_nobody_wrote_is_no_refusal(context: FakeContext, text: str) -> None:
    context.state[KEY] = text
    bench = await run_once(context, set(), addressed(10, 20, 30))
    assert bench.plant.plans == [frozenset()]


async def test_what_the_device_gives_again_is_not_kept(context: FakeContext) -> None:
    await run_once(context, {1}, addressed(10, 20, 30))
    assert KEY in context.state
    await run_once(context, set(), addressed(10, 20, 30), seconds=31)
    assert KEY not in context.state


async def test_a_device_of_which_every_point_is_refused_is_found_lost_and_back_as_any_other() -> None:
    bench = Bench(Refusing(refuses=frozenset({0, 1, 2})))
    async with bench.running():
        await bench.clock.advance(900)
        bench.plant.answers = False
        await bench.clock.advance(4)
        assert bench.phase() is DevicePhase.OFFLINE
        assert bench.current.reason == "no answer (3 in a row)"
        bench.plant.answers = True
        await bench.clock.advance(2)
        assert bench.phase() is DevicePhase.ONLINE


async def test_the_sign_of_life_does_not_make_a_refused_point_wait_longer() -> None:
    bench = Bench(Refusing(refuses=frozenset({0, 1, 2})))
    async with bench.running():
        await bench.clock.advance(29)
        bench.plant.refuses = frozenset()
        await bench.clock.advance(4)
        assert bench.plant.reads[-1] == [0, 1, 2]


async def test_only_a_device_that_is_asked_nothing_else_is_asked_for_a_sign_of_life() -> None:
    bench = Bench(Refusing(refuses=frozenset({2})), intervals_s=(0.5, 0.5, 10.0))
    async with bench.running():
        await bench.clock.advance(600)
        assert bench.plant.reads.count([2]) < 7


async def test_after_a_loss_a_refused_point_says_again_why_it_has_no_value() -> None:
    bench = Bench(Refusing(refuses=frozenset({1})))
    async with bench.running():
        await bench.clock.advance(200)
        bench.plant.is_up = False
        await bench.clock.advance(5)
        assert bench.current.latest(1).status == Quality.BAD_NO_COMMUNICATION
        bench.plant.is_up = True
        await bench.clock.advance(10)
        assert bench.phase() is DevicePhase.ONLINE
        assert bench.current.latest(1).status == Quality.BAD_NOT_READABLE


async def test_more_refused_points_than_are_kept_are_searched_again(
    monkeypatch: pytest.MonkeyPatch, context: FakeContext
) -> None:
    monkeypatch.setattr("edge_agent.collect.refusals.MAX_KEPT", 2)
    await run_once(context, {0, 1, 2}, addressed(10, 20, 30))
    assert (await run_once(context, {0, 1, 2}, addressed(10, 20, 30))).plant.plans[0] == {0, 1}


async def test_what_a_driver_learns_changes_the_plan_in_the_next_cycle() -> None:
    context = FakeContext(DEVICE, FakeClock())
    bench = Bench(Refusing(), context=context, points=POINTS)
    async with bench.running():
        await bench.clock.advance(3)
        context.state["answer_time_us"] = "5000"
        await bench.clock.advance(3)
    assert bench.plant.plans == [frozenset(), frozenset()]
