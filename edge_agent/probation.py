"""When to try again what failed: later each time. Pure."""

from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_S = 30.0
LONGEST_S = 1800.0


class Pause(NamedTuple):
    """How long something is left alone, and until when (control time)."""

    pause_s: float
    due_s: float


class Probation(Generic[K]):
    """Things that are left alone for a while: 30 s at first, twice as long after each failed try.

    Args:
        longest_s: no pause is longer.
    """

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._pauses: dict[K, Pause] = {}

    def failed(self, thing: K, now_s: float, first_s: float = FIRST_S) -> None:
        """Leave ``thing`` alone from now on, or for longer than the last time; a try before its time says nothing.

        Args:
            thing: what failed.
            now_s: control time.
            first_s: the pause if it never failed before.
        """
        if self.is_due(thing, now_s):
            known = self._pauses.get(thing)
            pause_s = min(self._longest_s, first_s if known is None else 2 * known.pause_s)
            self._pauses[thing] = Pause(pause_s, now_s + pause_s)

    def restore(self, thing: K, pause_s: float, left_s: float, now_s: float) -> None:
        """Go on leaving ``thing`` alone, as it was written down by a clock that may have been set since.

        Args:
            thing: what failed.
            pause_s: its pause.
            left_s: how much of it is left; it is never left alone for longer than its pause.
            now_s: control time.
        """
        pause_s = min(max(0.0, pause_s), self._longest_s)
        self._pauses[thing] = Pause(pause_s, now_s + min(max(0.0, left_s), pause_s))

    def passed(self, thing: K) -> None:
        """Forget ``thing``."""
        self._pauses.pop(thing, None)

    def clear(self) -> None:
        """Forget everything."""
        self._pauses.clear()

    def is_due(self, thing: K, now_s: float) -> bool:
        """Return whether ``thing`` may be tried; what never failed always may."""
        return thing not in self._pauses or now_s >= self._pauses[thing].due_s

    def __getitem__(self, thing: K) -> Pause:
        return self._pauses[thing]

    def __contains__(self, thing: K) -> bool:
        return thing in self._pauses

    def __iter__(self) -> Iterator[K]:
        return iter(self._pauses)

    def __len__(self) -> int:
        return len(self._pauses)
