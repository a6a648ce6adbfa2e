"""Whether a server reports what it holds: a slow read beside the subscription, compared with it. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from edge_agent.model import Column, is_bad
from edge_agent_opcua.plan import Item
from edge_agent_opcua.point import Trigger

_Held = tuple[object, int]  # value, None where there is none; status without its information bits


class CrossCheck:
    """Compares two reads with what was reported meanwhile.

    What the first read finds to differ may just be on its way. What still differs at the second one, after the
    server had time to report it and did not, was never reported.

    Args:
        items: the points that are checked.
        interval_s: between two first reads.
        patience_s: between the first and the second; longer than the server takes to report a change.
        now_s: control time.
    """

    def __init__(self, items: Iterable[Item], interval_s: float, patience_s: float, now_s: float) -> None:
        self._items: Mapping[int, Item] = {item.point: item for item in items}
        self._interval_s = interval_s
        self._patience_s = min(patience_s, interval_s / 2)
        self._next_s = now_s + interval_s
        self._reported: dict[int, _Held] = {}
        self._suspects: dict[int, _Held] = {}

    def note(self, columns: Iterable[Column]) -> None:
        """The server reported something."""
        if self._items:
            for point, held in _each(columns):
                if point in self._items:
                    self._reported[point] = held
                    self._suspects.pop(point, None)

    def due(self, now_s: float) -> list[int]:
        """Return the points that are to be read now: none, all for a first read, the suspects for a second one."""
        if not self._items or now_s < self._next_s:
            return []
        return sorted(self._suspects or self._items)

    def compare(self, columns: Iterable[Column], now_s: float) -> frozenset[int]:
        """Take what a read gave; return the points that the server did not report although they differ."""
        is_second = bool(self._suspects)
        differing = {
            point: held
            for point, held in _each(columns)
            if point in self._reported and self._differ(point, self._reported[point], held)
        }
        self._suspects = {} if is_second else differing
        self._next_s = now_s + (self._patience_s if self._suspects else self._interval_s)
        return frozenset(differing) if is_second else frozenset()

    def _differ(self, point: int, one: _Held, other: _Held) -> bool:
        item = self._items[point]
        if one[1] != other[1]:
            return True
        if item.trigger is Trigger.STATUS or one[0] == other[0]:
            return False
        if item.deadband is None:
            return True
        if item.deadband.percent:
            return False  # of a range that the server alone knows
        values = one[0], other[0]
        return all(isinstance(value, int | float) for value in values) and (
            abs(values[0] - values[1]) > item.deadband.absolute  # type: ignore[operator]
        )


def _each(columns: Iterable[Column]) -> Iterator[tuple[int, _Held]]:
    for column in columns:
        for position, point in enumerate(column.points):
            status = 0 if column.statuses is None else column.statuses[position]
            value = None if column.values is None or is_bad(status) else column.values[position]
            yield point, (value, status >> 16)
