"""Which rows a broker refused, how often and for how long: a poisoned row, or a broker in trouble? Pure."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from edge_agent.publish.outgoing import Outgoing

FOR_ITSELF = frozenset({0x80, 0x83, 0x99})
"""Reasons that may concern the message itself: unspecified, implementation specific, payload format invalid.

The others (MQTT 5 §3.4.2.1: not authorized, topic name invalid, quota exceeded) concern the account or the topic:
once somebody has mended that, everything goes through.
"""
ATTEMPTS = 3
SPLIT_AFTER = 2
"""A message that was refused so often is tried row by row: one poisoned row must not cost its neighbours."""
LASTS_S = 180.0
_MAX_ROWS = 10_000


class Refusals:
    """Remembers refused rows from one session to the next; bounded, the oldest are forgotten."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._rows: OrderedDict[int, tuple[int, float]] = OrderedDict()

    def note(self, outgoing: Outgoing, reason_code: int) -> None:
        """The broker refused a message."""
        if reason_code not in FOR_ITSELF:
            return
        for row_id in outgoing.row_ids:
            times, since_s = self._rows.pop(row_id, (0, self._monotonic_s()))
            self._rows[row_id] = times + 1, since_s
        while len(self._rows) > _MAX_ROWS:
            self._rows.popitem(last=False)

    def forget(self, row_ids: Iterable[int]) -> None:
        """The rows are through, or set aside."""
        for row_id in row_ids:
            self._rows.pop(row_id, None)

    def should_split(self, outgoing: Outgoing) -> bool:
        """Return whether to try the rows of a message one by one."""
        return len(outgoing.row_ids) > 1 and any(
            self._rows.get(row_id, (0, 0.0))[0] >= SPLIT_AFTER for row_id in outgoing.row_ids
        )

    def is_hopeless(self, outgoing: Outgoing) -> bool:
        """Return whether a row was refused often and for long enough, the last time alone."""
        if len(outgoing.row_ids) != 1:
            return False
        times, since_s = self._rows.get(outgoing.row_ids[0], (0, 0.0))
        return times >= ATTEMPTS and self._monotonic_s() - since_s >= LASTS_S
