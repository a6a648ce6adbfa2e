"""Fetching history in parts, from servers that refuse, fail or stop halfway."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from struct import pack
from typing import Any

import pytest
from asyncua import ua

from edge_agent.errors import DeviceUnavailableError
from edge_agent.model import DeviceId, ReadingBatch
from edge_agent.testing.fakes import START_NS, FakeClock
from edge_agent_opcua.decode import Decoder
from edge_agent_opcua.delivered import Delivered
from edge_agent_opcua.history import MAX_IDLE_PARTS, History
from edge_agent_opcua.responses import HistoryPart, Values
from tests.unit.test_opcua_translation import answered_while_cancelled

TICKS_1970 = 116_444_736_000_000_000
SECOND_NS = 1_000_000_000
BAD = 0x8034_0000
LIMIT_S = 60.0


def kept(*seconds: int) -> Values:
    """Return Int32 values, each with its second as value and source time."""
    values = [
        pack("<BBiq", 0x05, 6, second, TICKS_1970 + (START_NS + second * SECOND_NS) // 100) for second in seconds
    ]
    return Values(b"".join(values), 0, len(values))


class FakeServices:
    """Answers by node and by what was said to follow."""

    def __init__(self, answers: dict[tuple[str, bytes | None], HistoryPart | Exception]) -> None:
        self.answers = answers
        self.asked: list[list[tuple[str, bytes | None]]] = []

    def history_portions(self, points: Sequence[int]) -> Iterator[Sequence[int]]:
        yield points

    async def history(
        self, nodes: Sequence[tuple[Any, bytes | None]], _start: datetime, _end: datetime
    ) -> list[HistoryPart]:
        self.asked.append(list(nodes))
        parts = []
        for node in nodes:
            answer = self.answers[node]
            if isinstance(answer, Exception):
                raise answer
            parts.append(answer)
        return parts


async def fetched(
    services: FakeServices, delivered: Delivered, clock: FakeClock | None = None, patience_s: float = 1.0
) -> tuple[list[tuple[int, int]], frozenset[int]]:
    got: list[tuple[int, int]] = []

    async def emit(batch: ReadingBatch) -> None:
        assert batch.historical
        for column in batch.columns:
            for point, value in zip(column.points, column.values or (), strict=True):
                got.append((point, value))  # type: ignore[arg-type]

    asking: Any = services
    history = History(
        DeviceId("cnc"), "opc.tcp://cnc", asking, Decoder(), delivered, clock or FakeClock(), patience_s, LIMIT_S
    )
    nodes = {0: "a", 1: "b"}
    refused = await history.fetch(
        nodes, START_NS + 10 * SECOND_NS, dict.fromkeys(nodes, START_NS + 20 * SECOND_NS), emit
    )
    return got, refused


async def test_parts_are_asked_for_until_there_is_no_more() -> None:
    services = FakeServices(
        {
            ("a", None): HistoryPart(0, b"more", kept(9, 10, 11)),
            ("b", None): HistoryPart(0, None, kept(12)),
            ("a", b"more"): HistoryPart(0, b"", kept(19, 20)),
        }
    )
    got, refused = await fetched(services, Delivered(0))
    assert got == [(0, 10), (0, 11), (1, 12), (0, 19)]
    assert refused == frozenset()
    assert services.asked == [[("a", None), ("b", None)], [("a", b"more")]]


async def test_what_was_told_already_is_left_out() -> None:
    delivered = Delivered(10**12)
    column = Decoder().read(START_NS, [0], [kept(11)])
    delivered.note(START_NS, column)
    services = FakeServices(
        {("a", None): HistoryPart(0, None, kept(10, 11, 12)), ("b", None): HistoryPart(0, None, kept(11))}
    )
    got, _ = await fetched(services, delivered)
    assert got == [(0, 10), (0, 12), (1, 11)]


async def test_what_was_fetched_after_one_outage_is_not_fetched_again_after_the_next() -> None:
    delivered = Delivered(10**12)
    services = FakeServices(
        {("a", None): HistoryPart(0, None, kept(10, 11, 12)), ("b", None): HistoryPart(0, None, kept(11))}
    )
    await fetched(services, delivered)
    delivered.release()
    services.answers[("a", None)] = HistoryPart(0, None, kept(12, 13))
    got, _ = await fetched(services, delivered)
    assert got == [(0, 13)]


async def test_a_point_that_is_refused_costs_no_other() -> None:
    services = FakeServices(
        {("a", None): HistoryPart(BAD, None, None), ("b", None): HistoryPart(0, None, kept(12))}
    )
    assert await fetched(services, Delivered(0)) == ([(1, 12)], frozenset({0}))


@pytest.mark.parametrize("again", [None, kept(10, 11)], ids=["nothing", "the same"])
async def test_a_server_that_promises_more_for_ever_costs_its_point_and_no_other(again: Values | None) -> None:
    services = FakeServices(
        {
            ("a", None): HistoryPart(0, b"more", kept(10, 11)),
            ("a", b"more"): HistoryPart(0, b"more", again),
            ("b", None): HistoryPart(0, None, kept(12)),
        }
    )
    assert await fetched(services, Delivered(0)) == ([(0, 10), (0, 11), (1, 12)], frozenset({0}))
    assert len(services.asked) == 1 + MAX_IDLE_PARTS


async def test_a_history_of_many_parts_comes_whole() -> None:
    parts = 3 * MAX_IDLE_PARTS
    answers: dict[tuple[str, bytes | None], HistoryPart | Exception] = {
        ("a", bytes([i]) if i else None): HistoryPart(0, bytes([i + 1]), kept(10 + i // 8) if i % 8 == 0 else None)
        for i in range(parts)
    }
    answers |= {("a", bytes([parts])): HistoryPart(0, None, None), ("b", None): HistoryPart(0, None, None)}
    got, refused = await fetched(FakeServices(answers), Delivered(0))
    assert (got, refused) == ([(0, 10 + i) for i in range(parts // 8)], frozenset())


async def test_a_service_that_is_refused_is_told_of_all_and_one_that_is_dead_ends_the_session() -> None:
    unsupported = ua.UaStatusCodeError(ua.StatusCodes.BadServiceUnsupported)
    assert await fetched(FakeServices({("a", None): unsupported}), Delivered(0)) == ([], frozenset({0, 1}))
    closed = ua.UaStatusCodeError(ua.StatusCodes.BadSessionClosed)
    with pytest.raises(DeviceUnavailableError):
        await fetched(FakeServices({("a", None): closed}), Delivered(0))


async def test_after_a_fetch_that_was_cut_short_nothing_comes_twice() -> None:
    delivered = Delivered(0)
    closed = ua.UaStatusCodeError(ua.StatusCodes.BadSessionClosed)
    answers: dict[tuple[str, bytes | None], HistoryPart | Exception] = {
        ("a", None): HistoryPart(0, b"more", kept(10, 11)),
        ("b", None): HistoryPart(0, None, kept(12)),
        ("a", b"more"): closed,
    }
    with pytest.raises(DeviceUnavailableError):
        await fetched(FakeServices(answers), delivered)
    answers[("a", b"more")] = HistoryPart(0, None, kept(13))
    got, _ = await fetched(FakeServices(answers), delivered)
    assert got == [(0, 13)]


class SlowServices(FakeServices):
    """Takes its time for each answer, and has one value more of ``a``, a little later, for ever."""

    def __init__(self, clock: FakeClock, takes_s: float) -> None:
        super().__init__({})
        self._clock = clock
        self._takes_s = takes_s

    def history_portions(self, points: Sequence[int]) -> Iterator[Sequence[int]]:
        return iter([[point] for point in points])

    async def history(
        self, nodes: Sequence[tuple[Any, bytes | None]], _start: datetime, _end: datetime
    ) -> list[HistoryPart]:
        self.asked.append(list(nodes))
        await self._clock.advance(self._takes_s)
        ((node, _),) = nodes
        at = TICKS_1970 + START_NS // 100 + 10 * SECOND_NS // 100 + len(self.asked)
        value = Values(pack("<BBiq", 0x05, 6, len(self.asked), at), 0, 1)
        return [HistoryPart(0, b"more" if node == "a" else None, value)]


async def test_a_server_that_gives_too_slowly_costs_what_has_not_come_and_nothing_else() -> None:
    clock = FakeClock()
    services = SlowServices(clock, takes_s=7.0)
    got, late = await fetched(services, Delivered(0), clock)
    assert len(services.asked) == 9  # 63 s
    assert got == [(0, number) for number in range(1, 10)]
    assert late == {0, 1}, "the first one is not at its end, and the second one was not asked for"


async def test_what_came_in_time_is_no_loss() -> None:
    clock = FakeClock()
    services = SlowServices(clock, takes_s=7.0)
    services.history_portions = lambda points: iter([[point] for point in reversed(points)])  # type: ignore[method-assign]
    got, late = await fetched(services, Delivered(0), clock)
    assert got[0] == (1, 1)
    assert late == {0}


class LateServices(FakeServices):
    """Answers in the moment in which the time is up, as asyncua then tells it."""

    async def history(
        self, nodes: Sequence[tuple[Any, bytes | None]], _start: datetime, _end: datetime
    ) -> list[HistoryPart]:
        self.asked.append(list(nodes))
        await answered_while_cancelled()
        return []


async def test_an_answer_in_the_moment_in_which_the_time_is_up_is_a_loss_that_is_told() -> None:
    assert await fetched(LateServices({}), Delivered(0), patience_s=0.0) == ([], frozenset({0, 1}))
