"""A set of row ids, kept as ranges: what a publisher has acknowledged, what is still in the log. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""The ids from the first to the last, both included."""


class Ranges:
    """A set of positive ids that costs memory per gap, not per id."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in spans:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Add the ids ``first`` to ``last``; without ``last`` one id.

        Raises:
            ValueError: ids begin at 1, and a range does not end before it begins.
        """
        last = _checked(first, last)
        left = bisect_left(self._lasts, first - 1)  # the first range that touches or follows the new one
        right = bisect_right(self._firsts, last + 1)
        if left < right:
            first = min(first, self._firsts[left])
            last = max(last, self._lasts[right - 1])
        self._firsts[left:right] = [first]
        self._lasts[left:right] = [last]

    def discard(self, first: int, last: int | None = None) -> None:
        """Remove the ids ``first`` to ``last``, whichever of them are there.

        Raises:
            ValueError: as for ``add``.
        """
        last = _checked(first, last)
        left = bisect_left(self._lasts, first)
        right = bisect_right(self._firsts, last)
        if left >= right:
            return
        head, tail = self._firsts[left], self._lasts[right - 1]
        spans = [(a, b) for a, b in ((head, first - 1), (last + 1, tail)) if a <= b]
        self._firsts[left:right] = [a for a, _ in spans]
        self._lasts[left:right] = [b for _, b in spans]

    def __contains__(self, row_id: int) -> bool:
        at = bisect_left(self._lasts, row_id)
        return at < len(self._lasts) and self._firsts[at] <= row_id

    def __len__(self) -> int:
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __iter__(self) -> Iterator[Span]:
        return zip(self._firsts, self._lasts, strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranges):
            return NotImplemented
        return self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ranges({self.spans()})"

    def spans(self) -> list[Span]:
        """Return the ranges in ascending order; ``Ranges(spans)`` gives the set back."""
        return list(self)

    def prefix(self) -> int:
        """Return the last id of the contiguous run that begins at 1, or 0."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 1 else 0

    def gaps(self, first: int, last: int) -> Iterator[Span]:
        """Yield the ids of ``first`` to ``last`` that are not in the set. Do not change the set meanwhile."""
        at = bisect_left(self._lasts, first)
        while first <= last:
            if at == len(self._firsts) or self._firsts[at] > last:
                yield first, last
                return
            if first < self._firsts[at]:
                yield first, self._firsts[at] - 1
            first = self._lasts[at] + 1
            at += 1

    def within(self, first: int, last: int) -> Iterator[Span]:
        """Yield the ids of ``first`` to ``last`` that are in the set. Do not change the set meanwhile."""
        for at in range(bisect_left(self._lasts, first), len(self._firsts)):
            if self._firsts[at] > last:
                return
            yield max(first, self._firsts[at]), min(last, self._lasts[at])

    def without(self, other: "Ranges", first: int, last: int) -> Iterator[Span]:
        """Yield the ids of ``first`` to ``last`` that are in this set and not in ``other``."""
        for a, b in self.within(first, last):
            yield from other.gaps(a, b)

    def common(self, other: "Ranges") -> "Ranges":
        """Return the ids that are in both."""
        both = Ranges()
        for first, last in self:
            for a, b in other.within(first, last):
                both._firsts.append(a)
                both._lasts.append(b)
        return both


def _checked(first: int, last: int | None) -> int:
    last = first if last is None else last
    if first < 1 or last < first:
        raise ValueError(f"not a range of row ids: {first} to {last}")
    return last
