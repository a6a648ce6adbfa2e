"""What a server says first when it is asked anew: no change, but what holds. Pure.

The first notification of an item is its present value, with the time of its last change. After an outage that
time may be long before the Bad reading that told of the outage, and whoever sorts by time would take that for the
last word. So what held when the server was asked says so, with the time of asking, and the server's time beside it
as it was told. A change that happened during the outage is told before, with its own time.
"""

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from edge_agent.model import Column
from edge_agent_opcua.delivered import Delivered


@dataclass(slots=True)
class Past:
    """What the sessions of one device leave to each other.

    Attributes:
        heard_ns: what the server had to report until then has come, or its loss was told; 0 = nothing yet.
        complete_ns: the same of all subscriptions; earlier, where one of them publishes more rarely.
        hole_ns: since then the server may have kept what was not told, and it is not fetched yet; 0 = no hole.
        doubtful_ns: the same of all subscriptions, as ``complete_ns``.
        settled_ns: source time before which nothing is to be fetched: it was, or its loss was told.
        delivered: what was told in the moments before.
    """

    heard_ns: int = 0
    complete_ns: int = 0
    hole_ns: int = 0
    doubtful_ns: int = 0
    settled_ns: int = 0
    delivered: Delivered = field(default_factory=lambda: Delivered(0))


class Resumption:
    """The first readings of points after they were Bad."""

    def __init__(self) -> None:
        self._awaited: dict[int, tuple[int, int, int]] = {}

    def expect(self, points: Iterable[int], heard_ns: int, asked_ns: int, ahead_ns: int = 0) -> None:
        """The server was asked to report ``points``.

        Args:
            points: those that had a Bad reading before.
            heard_ns: a change after this was not told.
            asked_ns: when it was asked, after the Bad reading.
            ahead_ns: by how much the clock of the source is ahead of ours.
        """
        self._awaited |= dict.fromkeys(points, (heard_ns, asked_ns, ahead_ns))

    def apply(self, columns: tuple[Column, ...], time_ns: int) -> tuple[Column, ...]:
        """Return the readings of one notification, with the time of asking where they are older.

        A server that sets its clock once a second, or hung, tells it late. The latest reading shows by how much.

        Args:
            columns: as decoded.
            time_ns: of their batch.
        """
        if not self._awaited:
            return columns
        during: list[Column] = []
        holding: list[Column] = []
        others: list[Column] = []
        offsets_ns = (offset_ns for column in columns for offset_ns in column.offsets_ns or () if offset_ns < 0)
        latest_ns = max(offsets_ns, default=-math.inf)
        for column in columns:
            missed, firsts = self._firsts(column, time_ns, latest_ns)
            rest = [i for i in range(len(column)) if i not in firsts]
            during += [column.take(missed)] if missed else []
            holding += [_at(column.take(list(firsts)), array("q", firsts.values()))] if firsts else []
            others += [column.take(rest)] if rest else []
        return *during, *holding, *others

    def _firsts(self, column: Column, time_ns: int, latest_ns: float) -> tuple[list[int], dict[int, int]]:
        """Return the positions of first readings that are older than the asking, with its offset.

        Those come first that are changes nobody was told of.
        """
        missed, firsts = [], {}
        for position, point in enumerate(column.points):
            if point in self._awaited:
                heard_ns, asked_ns, ahead_ns = self._awaited.pop(point)
                offset_ns = 0 if column.offsets_ns is None else column.offsets_ns[position]
                source_ns = time_ns + offset_ns - max(ahead_ns, latest_ns)
                if source_ns < asked_ns:
                    firsts[position] = asked_ns - time_ns
                    missed += [position] if source_ns > heard_ns else []
        return missed, firsts


def _at(column: Column, offsets_ns: "array[int]") -> Column:
    """Return readings of other times; the server's stay."""
    none = array("q", bytes(8 * len(column)))
    told = zip(column.offsets_ns or none, column.lags_ns or none, offsets_ns, strict=True)
    lags_ns = array("q", [before_ns + lag_ns - offset_ns for before_ns, lag_ns, offset_ns in told])
    return replace(column, offsets_ns=offsets_ns, lags_ns=lags_ns)
