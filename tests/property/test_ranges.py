"""Ranges behave as the set of ids that they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outbox.ranges import Ranges, Span

span = st.tuples(st.integers(1, 40), st.integers(0, 8)).map(lambda s: (s[0], s[0] + s[1]))
spans = st.lists(span, max_size=12)
steps = st.lists(st.tuples(st.booleans(), span), max_size=20)


def ids(of: list[Span]) -> set[int]:
    return {i for first, last in of for i in range(first, last + 1)}


def flat(of: object) -> list[int]:
    return [i for first, last in of for i in range(first, last + 1)]  # type: ignore[attr-defined]


@given(steps)
def test_ranges_are_a_set_of_ids(steps: list[tuple[bool, Span]]) -> None:
    ranges, expected = Ranges(), set[int]()
    for is_added, (first, last) in steps:
        if is_added:
            ranges.add(first, last)
            expected |= ids([(first, last)])
        else:
            ranges.discard(first, last)
            expected -= ids([(first, last)])
    assert flat(ranges) == sorted(expected)
    assert len(ranges) == len(expected)
    assert {i for i in range(60) if i in ranges} == expected
    assert all(b[0] > a[1] + 1 for a, b in zip(ranges.spans(), ranges.spans()[1:], strict=False)), (
        "as few as can be"
    )
    assert Ranges(ranges.spans()) == ranges
    assert ranges.prefix() == next(i for i in range(60) if i + 1 not in expected)


@given(spans, spans, span)
def test_ranges_are_compared_as_sets(left: list[Span], right: list[Span], bound: Span) -> None:
    a, b = Ranges(left), Ranges(right)
    window = ids([bound])
    assert flat(a.common(b)) == sorted(ids(left) & ids(right))
    assert flat(a.within(*bound)) == sorted(ids(left) & window)
    assert flat(a.gaps(*bound)) == sorted(window - ids(left))
    assert flat(a.without(b, *bound)) == sorted((ids(left) - ids(right)) & window)


def test_nothing_lies_in_an_empty_window() -> None:
    assert list(Ranges([(1, 9)]).gaps(5, 4)) == []
    assert list(Ranges().within(1, 5)) == []


@pytest.mark.parametrize("bad", [(0, 3), (-1, 1), (4, 3)])
def test_what_is_no_range_of_row_ids_is_refused(bad: Span) -> None:
    with pytest.raises(ValueError, match="not a range"):
        Ranges([bad])
    with pytest.raises(ValueError, match="not a range"):
        Ranges().discard(*bad)


def test_one_id_after_another_is_one_range() -> None:
    ranges = Ranges()
    for i in (3, 1, 2, 5, 4):
        ranges.add(i)
    assert ranges.spans() == [(1, 5)]
    assert repr(ranges) == "Ranges([(1, 5)])"
