"""When to try again what failed: later each time. Pure."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_S = 30.0
LONGEST_S = 1800.0


class Probation(Generic[K]):
    """Things that are left alone for a while: 30 s at first, twice as long after each failed try.

    Args:
        longest_s: no pause is longer.
    """

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._pauses: dict[K, tuple[float, float]] = {}  # pause, end of it

    def failed(self, thing: K, now_s: float) -> None:
        """Leave ``thing`` alone from now on, or for longer than the last time."""
        pause_s = min(self._longest_s, 2 * self._pauses[thing][0] if thing in self._pauses else FIRST_S)
        self._pauses[thing] = (pause_s, now_s + pause_s)

    def passed(self, thing: K) -> None:
        """Forget ``thing``."""
        self._pauses.pop(thing, None)

    def clear(self) -> None:
        """Forget everything."""
        self._pauses.clear()

    def is_due(self, thing: K, now_s: float) -> bool:
        """Return whether ``thing`` may be tried; what never failed always may."""
        return thing not in self._pauses or now_s >= self._pauses[thing][1]

    def __contains__(self, thing: K) -> bool:
        return thing in self._pauses

    def __iter__(self) -> Iterator[K]:
        return iter(self._pauses)

    def __len__(self) -> int:
        return len(self._pauses)
