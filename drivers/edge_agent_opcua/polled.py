"""Points for which a server has no room in any subscription, and when each of them is read instead. Pure."""


class Polled:
    """Drift-free, without catching up on what was missed."""

    def __init__(self) -> None:
        self._by_point: dict[int, tuple[float, float]] = {}  # interval, when it is due

    def __len__(self) -> int:
        return len(self._by_point)

    def add(self, point: int, interval_s: float, now_s: float) -> None:
        """Read ``point`` from now on, each ``interval_s``; one that is read already keeps its turn."""
        self._by_point.setdefault(point, (interval_s, now_s))

    def remove(self, point: int) -> None:
        """Read ``point`` no longer; silent if it is none of these."""
        self._by_point.pop(point, None)

    def due(self, now_s: float) -> list[int]:
        """Return the points that are to be read now, in order; each has its next turn an interval later."""
        points = sorted(point for point, (_, due_s) in self._by_point.items() if due_s <= now_s)
        for point in points:
            interval_s, due_s = self._by_point[point]
            next_s = due_s + interval_s
            self._by_point[point] = interval_s, next_s if next_s > now_s else now_s + interval_s
        return points

    @property
    def next_s(self) -> float:
        """Control time of the next turn; there is one point at least."""
        return min(due_s for _, due_s in self._by_point.values())
