"""Which addresses of a table can be read: a search that asks for spans and is told whether each was given. Pure.

A refused span is halved until the first refused address is known, so each end of a run costs a logarithm. Behind
a run, where everything may be refused, only some addresses are tried: those at which maps of real devices begin
(round numbers, decimal and hexadecimal), closer together where most maps are. Nothing is called readable that was
not read.
"""

from bisect import bisect_left
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from edge_agent_modbus.pdu import ADDRESSES

_NEAREST = 64  # below: every address
_NEAR, _FAR = 256, 2048  # below: closer samples
_NEAR_STEPS, _FAR_STEPS, _STEPS = (8, 10), (50, 64), (256, 500)
_THOUSAND = 1000  # a map that counts from 1 begins at 1001, 40001 …


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses to ask for in one request."""

    address: int
    count: int

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.count


@dataclass(slots=True)
class Found:
    """What is known so far; what a search that was stopped has found.

    Attributes:
        most: the most that one request was given.
        refused_size: the least that is refused although its parts are given; None: nothing is.
        position: everything before was looked at, for a progress bar.
    """

    words: dict[int, int] = field(default_factory=dict)
    most: int = 0
    refused_size: int | None = None
    position: int = 0

    @property
    def runs(self) -> tuple[Span, ...]:
        """Neighbouring addresses that can be read, in order."""
        runs: list[Span] = []
        for address in sorted(self.words):
            if runs and runs[-1].end == address:
                runs[-1] = Span(runs[-1].address, runs[-1].count + 1)
            else:
                runs.append(Span(address, 1))
        return tuple(runs)


Search = Generator[Span, tuple[int, ...] | None, None]
"""Yields what to ask for next; is sent the value of each address, or None if they were refused."""


def samples(first: int, last: int, hints: Iterable[int] = (), *, is_thorough: bool = False) -> list[int]:
    """Return the addresses that are tried between runs, in order.

    Args:
        first: address of what is searched.
        last: address of it.
        hints: addresses that somebody named; each is tried with its neighbours.
        is_thorough: every address.
    """
    if is_thorough:
        return list(range(first, last + 1))
    chosen = {near for hint in hints for near in (hint - 1, hint, hint + 1)}
    chosen.update(range(_NEAREST))
    for end, steps in ((_NEAR, _NEAR_STEPS), (_FAR, _FAR_STEPS), (ADDRESSES, _STEPS)):
        for step in steps:
            chosen.update(range(0, end, step))
    chosen.update(range(1, ADDRESSES, _THOUSAND))
    return sorted(address for address in chosen if first <= address <= last)


def find_ranges(found: Found, first: int, last: int, limit: int, places: list[int]) -> Search:
    """Look for all that can be read from ``first`` to ``last``.

    Args:
        found: gets what is found, step by step.
        first: address to look at.
        last: address to look at.
        limit: the most that one request may ask for.
        places: ``samples`` of the same.
    """
    search = _RangeSearch(found, last, limit)
    position, is_beside_run = first, True
    before = first - 1  # refused, or outside
    while position <= last:
        start = position
        if not is_beside_run and (yield from search.ask(position, 1)):
            search.add(position, 1)
            hole = yield from search.walk(position + 1)
            yield from search.walk_back(before, position)
        elif is_beside_run:
            hole = yield from search.walk(position)
        else:
            hole = position
        found.position = hole
        if hole > start or is_beside_run:
            # A single hole in a run is common: the rest at once, then the next address alone.
            rest = min(search.limit, last - hole)
            if rest > 0 and (yield from search.ask(hole + 1, rest)):
                search.add(hole + 1, rest)
                position, is_beside_run = hole + 1 + rest, True
                continue
            if rest > 1 and (yield from search.ask(hole + 1, 1)):
                search.add(hole + 1, 1)
                position, is_beside_run = hole + 2, True
                continue
            hole += rest > 0
        before = hole
        next_place = bisect_left(places, hole + 1)
        position = places[next_place] if next_place < len(places) else last + 1
        is_beside_run = False
    found.position = last + 1


class _RangeSearch:
    def __init__(self, found: Found, last: int, limit: int) -> None:
        self._found = found
        self._last = last
        self._values: tuple[int, ...] = ()
        self.limit = limit

    def ask(self, address: int, count: int) -> Generator[Span, tuple[int, ...] | None, bool]:
        values = yield Span(address, count)
        if values is None:
            return False
        self._values = values
        self._found.most = max(self._found.most, count)
        return True

    def add(self, address: int, count: int) -> None:
        """Keep what the last answer gave."""
        self._found.words.update(zip(range(address, address + count), self._values, strict=True))

    def walk(self, position: int) -> Generator[Span, tuple[int, ...] | None, int]:
        """Read on from ``position``; return the first address that is refused by itself."""
        refused_start = position
        refused_end: int | None = None  # one of them is refused, if it is not for the size
        while position <= self._last:
            if refused_end is None:
                count = min(self.limit, self._last + 1 - position)
            else:
                count = max(1, (refused_end - position) // 2)
            if (yield from self.ask(position, count)):
                self.add(position, count)
                position += count
                self._found.position = position
                if position == refused_end:  # given in parts
                    yield from self._learn_limit(refused_start, refused_end)
                    refused_end = None
            elif count == 1:
                return position
            else:
                refused_start, refused_end = position, position + count
        return position

    def walk_back(self, before: int, start: int) -> Generator[Span, tuple[int, ...] | None, None]:
        """Read the addresses between ``before`` and ``start`` that are in one run with ``start``."""
        while True:
            low, high = before, start
            while high - low > 1:
                middle = max((low + high) // 2, high - self.limit)
                if (yield from self.ask(middle, high - middle)):
                    self.add(middle, high - middle)
                    high = middle
                else:
                    low = middle
            if high - 1 <= before or not (yield from self.ask(high - 1, 1)):
                return
            self.add(high - 1, 1)  # so the span was refused for its size
            self.limit = max(1, self._found.most)
            start = high - 1

    def _learn_limit(self, address: int, end: int) -> Generator[Span, tuple[int, ...] | None, None]:
        """Find how much of a span, all of which can be read, is given at once."""
        high = end - address  # refused
        low = min(max(1, self._found.most), high - 1)  # given
        while high - low > 1:
            middle = (low + high) // 2
            if (yield from self.ask(address, middle)):
                low = middle
            else:
                high = middle
        self.limit = low
        self._found.refused_size = min(self._found.refused_size or high, high)
