"""When to poll: fixed rate, no drift, phases spread. Pure."""

import zlib
from collections.abc import Sequence


class Schedule:
    """The due times of one device's poll groups.

    A group with interval T is due at ``start + phase·T + k·T`` for k = 0, 1, 2 …, however long a poll takes. Times
    that have passed while a poll was not done are skipped and counted, never caught up.

    Args:
        intervals_s: one for each group.
        start_s: control time from which the phases count.
        phase: in [0, 1); spreads devices with one interval over it.
    """

    def __init__(self, intervals_s: Sequence[float], start_s: float, phase: float) -> None:
        self._intervals_s = tuple(intervals_s)
        self._first_s = [start_s + phase * interval_s for interval_s in intervals_s]
        self._count = [0] * len(self._intervals_s)
        self._due_s = list(self._first_s)

    def next(self) -> tuple[float, int]:
        """Return the earliest due time and its group; of two due at once, the faster group."""
        due_s, _, group = min(
            (due_s, interval_s, group)
            for group, (due_s, interval_s) in enumerate(zip(self._due_s, self._intervals_s, strict=True))
        )
        return due_s, group

    def done(self, group: int, now_s: float) -> int:
        """Say that a poll of ``group`` ended; return how many due times were skipped.

        A due time is skipped when the one after it has come too: a poll that starts late within its own
        interval is late, not lost.
        """
        interval_s = self._intervals_s[group]
        # Multiplied, not added up: adding a million intervals drifts.
        following = self._count[group] + 1
        reached = int((now_s - self._first_s[group]) / interval_s)
        upcoming = max(following, reached)
        self._count[group] = upcoming
        self._due_s[group] = self._first_s[group] + upcoming * interval_s
        return upcoming - following


def phase_of(name: str) -> float:
    """Return a phase in [0, 1) that is the same at every start, and even over many names."""
    return zlib.crc32(name.encode()) / 2**32


def by_interval(points: Sequence[int], intervals_s: Sequence[float]) -> list[tuple[float, list[int]]]:
    """Group ``points`` by their interval: (interval in seconds, point indexes), shortest first."""
    groups: dict[float, list[int]] = {}
    for index in points:
        groups.setdefault(intervals_s[index], []).append(index)
    return sorted(groups.items())
