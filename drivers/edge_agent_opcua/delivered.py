"""Which readings round an outage were told already, so that history does not tell them again. Pure."""

from collections import deque
from collections.abc import Iterable

from edge_agent.model import Column


class Delivered:
    """Keeps the notifications of the last moments, by reference.

    Between two outages what is older than the window is let go, for a server reports a change within it. From the
    begin of an outage until it is fetched nothing is let go, and of what comes after it only the first moments are
    kept.

    Attributes:
        fetched_ns: source time of the last reading that was fetched of a point. It may be later than the outage:
            what the server says first of a point may be, and the history goes on until there.

    Args:
        window_ns: longer than a change takes to be reported.
    """

    def __init__(self, window_ns: int) -> None:
        self.window_ns = window_ns
        self.fetched_ns: dict[int, int] = {}
        self._kept: deque[tuple[int, tuple[Column, ...]]] = deque()
        self._until_ns: int | None = None

    def note(self, time_ns: int, columns: tuple[Column, ...]) -> None:
        """Readings were told.

        Args:
            time_ns: of their batch, when they arrived.
            columns: as they were told.
        """
        if self._until_ns is None:
            self._kept.append((time_ns, columns))
            while self._kept[0][0] < time_ns - self.window_ns:
                self._kept.popleft()
        elif time_ns <= self._until_ns:
            self._kept.append((time_ns, columns))

    def hold(self, asked_ns: int) -> None:
        """An outage has ended: the server was asked anew at ``asked_ns``."""
        self._until_ns = asked_ns + self.window_ns

    def release(self) -> None:
        """What the server kept of the outage is fetched."""
        self._until_ns = None

    def of(self, points: Iterable[int]) -> frozenset[tuple[int, int]]:
        """Return points and source times, ns, of what is kept of ``points``."""
        wanted = frozenset(points)
        return frozenset(
            (point, time_ns + (column.offsets_ns[position] if column.offsets_ns else 0))
            for time_ns, columns in self._kept
            for column in columns
            for position, point in enumerate(column.points)
            if point in wanted
        )
