"""What is learned of gaps, and how it is unlearned."""

import pytest

from edge_agent.testing.fakes import FakeClock
from edge_agent_modbus.decode import Source, ValueType
from edge_agent_modbus.gaps import FIRM_FIRST_S, FIRST_S, KEY, LONGEST_S, Gaps, Split, refused_gaps
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.plan import Gap, Limits, ReadRequest, plan_reads


def whole(*addresses: int, table: Table = Table.HOLDING) -> ReadRequest:
    sources = [Source(i, table, address, ValueType.UINT16) for i, address in enumerate(addresses)]
    (request,) = plan_reads(1, sources, frozenset(), Limits(gaps=True))
    return request


def learn(gaps: Gaps, request: ReadRequest, *, is_firm: bool = True) -> None:
    halves = request.split()
    gaps.learn([Split(halves, is_firm)], halves)


GAP, OTHER = Gap(Table.HOLDING, 1, 10), Gap(Table.INPUT, 5, 8)


@pytest.fixture
def state() -> dict[str, str]:
    return {}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_790_000_000_000_000_000)


@pytest.fixture
def gaps(state: dict[str, str], clock: FakeClock) -> Gaps:
    return Gaps(state, clock)


def test_what_is_learned_is_a_text_and_read_again(gaps: Gaps, state: dict[str, str]) -> None:
    learn(gaps, whole(0, 10))
    learn(gaps, whole(4, 8, table=Table.INPUT), is_firm=False)
    assert state == {
        KEY: "holding 1-9 for 86400 s, until 2026-09-22T14:13:20Z; input 5-7 for 600 s, until 2026-09-21T14:23:20Z"
    }
    assert refused_gaps(state) == (GAP, OTHER)


def test_only_halves_that_are_both_answered_tell_of_a_gap(gaps: Gaps, state: dict[str, str]) -> None:
    halves = whole(0, 10).split()
    gaps.learn([Split(halves, is_firm=True)], halves[:1])
    gaps.learn([Split(whole(0, 1).split(), is_firm=True)], halves)
    assert state == {}


@pytest.mark.parametrize(("is_firm", "first_s"), [(True, FIRM_FIRST_S), (False, FIRST_S)])
async def test_a_gap_is_tried_again_later_each_time_it_is_refused(
    gaps: Gaps, state: dict[str, str], clock: FakeClock, first_s: float, *, is_firm: bool
) -> None:
    pause_s = first_s
    for _ in range(14):
        learn(gaps, whole(0, 10), is_firm=is_firm)
        await clock.advance(pause_s - 1)
        gaps.try_due()
        assert refused_gaps(state) == (GAP,)
        await clock.advance(1)
        gaps.try_due()
        assert (refused_gaps(state), gaps.tried) == ((), GAP)
        pause_s = min(2 * pause_s, LONGEST_S)
    assert pause_s == LONGEST_S


async def test_a_gap_that_is_answered_again_is_forgotten(
    gaps: Gaps, state: dict[str, str], clock: FakeClock
) -> None:
    learn(gaps, whole(0, 10), is_firm=False)
    await clock.advance(FIRST_S)
    gaps.answered(whole(0, 10))
    assert KEY in state, "nobody tried it"
    gaps.try_due()
    gaps.answered(whole(0, 8))
    gaps.answered(whole(0, 10, table=Table.INPUT))
    assert gaps.is_tried_by(whole(0, 10))
    gaps.answered(whole(0, 10))
    assert (gaps.tried, state) == (None, {})


async def test_one_gap_is_tried_at_a_time_and_one_that_no_plan_reads_over_holds_none_up(
    gaps: Gaps, state: dict[str, str], clock: FakeClock
) -> None:
    learn(gaps, whole(0, 10), is_firm=False)
    await clock.advance(1)
    learn(gaps, whole(4, 8, table=Table.INPUT), is_firm=False)
    await clock.advance(FIRST_S)
    gaps.try_due()
    assert refused_gaps(state) == (OTHER,)
    await clock.advance(FIRST_S - 1)
    gaps.try_due()
    assert (refused_gaps(state), gaps.tried) == ((OTHER,), GAP)
    await clock.advance(1)
    gaps.try_due()
    assert (refused_gaps(state), gaps.tried) == ((), OTHER)
    await clock.advance(FIRST_S)
    gaps.try_due()
    assert state == {}


@pytest.mark.parametrize("step_s", [-1e8, 1e8])
async def test_a_clock_that_steps_leaves_no_gap_alone_for_longer_than_its_pause(
    gaps: Gaps, state: dict[str, str], clock: FakeClock, step_s: float
) -> None:
    learn(gaps, whole(0, 10), is_firm=False)
    clock.step(step_s)
    restarted = Gaps(state, clock)
    restarted.try_due()
    if step_s < 0:
        assert refused_gaps(state) == (GAP,)
        await clock.advance(FIRST_S)
        restarted.try_due()
    assert restarted.tried == GAP


async def test_one_that_was_being_tried_is_tried_after_a_restart(
    gaps: Gaps, state: dict[str, str], clock: FakeClock
) -> None:
    learn(gaps, whole(0, 10), is_firm=False)
    await clock.advance(FIRST_S)
    gaps.try_due()
    restarted = Gaps(state, clock)
    assert refused_gaps(state) == ()
    restarted.try_due()
    assert restarted.tried == GAP


async def test_what_was_forgotten_on_request_does_not_come_back(
    gaps: Gaps, state: dict[str, str], clock: FakeClock
) -> None:
    learn(gaps, whole(0, 10), is_firm=False)
    state.clear()
    await clock.advance(FIRST_S)
    gaps.try_due()
    assert state == {}
    learn(gaps, whole(4, 8, table=Table.INPUT))
    assert refused_gaps(state) == (OTHER,)


def test_a_text_that_nobody_wrote_is_no_gap() -> None:
    text = (
        "nonsense; holding 1-; drum 1-2 for 5 s, being tried; holding 9-4 for 5 s, until 2026-09-21T14:23:20Z; "
        "holding 7-8 for 5 s, until soonZ; holding 1-99999 for 5 s, until 2026-09-21T14:23:20Z; "
        "holding 4-6 for 5 s, until 2026-09-21T14:23:20Z"
    )
    assert refused_gaps({KEY: text}) == (Gap(Table.HOLDING, 4, 7),)
    assert refused_gaps({}) == ()
