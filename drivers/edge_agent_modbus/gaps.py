"""Which gaps between points a device refuses, as it is learned, kept, and tried again later each time. Pure."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import NamedTuple

from edge_agent.clock import Clock
from edge_agent.driver import Probation
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.plan import Gap, ReadRequest, gap_between

KEY = "refused_gaps"
MAX_GAPS = 1000
"""Of a device; what is beyond is searched for again in each session."""
FIRST_S = 600.0
"""Pause of a gap that the device answered with a failure or too few data: that may pass."""
FIRM_FIRST_S = 86400.0
"""Pause of a gap that it refused by exception 1, 2 or 3: a new program in the device may have the addresses."""
LONGEST_S = 30 * 86400.0
_BOTH = 2
_LAST_ADDRESS = 0xFFFF
_ENTRY = re.compile(r"(\w+) (\d{1,5})-(\d{1,5}) for (\d{1,9}) s(?:, until (\S+)Z|, being tried)")


class Split(NamedTuple):
    """The parts of a request that was refused; ``is_firm`` if by what the device will never give."""

    parts: tuple[ReadRequest, ...]
    is_firm: bool


class Gaps:
    """The refused gaps of one device.

    One at a time that is due is *being tried*, for ten minutes at most: plans read over it again, until it is
    answered or refused anew.

    Args:
        state: where they are kept, as a text such as ``holding 12-19 for 600 s, until 2026-11-23T08:00:00Z``.
    """

    def __init__(self, state: MutableMapping[str, str], clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._probation = Probation[Gap](LONGEST_S)
        self._tried: Gap | None = None
        self._next_s = -math.inf
        self._text: str | None = None  # nothing is loaded yet: who is made looks at no clock

    @property
    def tried(self) -> Gap | None:
        """The one that is being tried."""
        return self._tried

    def try_due(self) -> None:
        """Let plans read over the gap that is due for the longest time, if one is."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_s:
            return
        self._load()
        if now_s < self._next_s:
            return
        if self._tried is not None:  # for all this time: no plan reads over it any more
            self._probation.passed(self._tried)
            self._tried = None
        gap = min(self._probation, key=lambda one: self._probation[one].due_s, default=None)
        if gap is not None and self._probation.is_due(gap, now_s):
            self._probation.failed(gap, now_s)  # unless it is answered
            self._tried = gap
            self._next_s = now_s + FIRST_S
        self._write()

    def answered(self, request: ReadRequest) -> None:
        """Forget the gap that is being tried, if ``request`` was answered over it."""
        self._load()
        if self._tried is not None and _holds(request, self._tried):
            self._probation.passed(self._tried)
            self._tried = None
            self._write()

    def is_tried_by(self, request: ReadRequest) -> bool:
        """Return whether ``request`` reads over the gap that is being tried."""
        return self._tried is not None and _holds(request, self._tried)

    def learn(self, splits: Iterable[Split], answered: Iterable[ReadRequest]) -> None:
        """Keep the gaps between halves that were both answered where the whole was refused: it held nothing else.

        Args:
            splits: for each request that was refused, its halves.
            answered: the requests that were answered with data.
        """
        self._load()
        taken, now_s, is_new = set(answered), self._clock.monotonic_s(), False
        for parts, is_firm in splits:
            gap = gap_between(*parts) if len(parts) == _BOTH and taken.issuperset(parts) else None
            if gap is not None:
                self._probation.failed(gap, now_s, FIRM_FIRST_S if is_firm else FIRST_S)
                self._tried = None if gap == self._tried else self._tried
                is_new = True
        if is_new:
            self._write()

    def _load(self) -> None:
        """Take up what is kept, unless it is what was written here: it may have been forgotten on request."""
        if self._state.get(KEY, "") == self._text:
            return
        now_s, utc_s = self._clock.monotonic_s(), self._clock.now_ns() / 1e9
        self._text = self._state.get(KEY, "")
        self._tried = None
        self._probation.clear()
        for gap, pause_s, until_s in _entries(self._text):
            self._probation.restore(gap, pause_s, until_s - utc_s, now_s)
        self._set_next()

    def _write(self) -> None:
        now_s, utc_s = self._clock.monotonic_s(), self._clock.now_ns() / 1e9
        entries = []
        for gap in sorted(self._probation)[:MAX_GAPS]:
            pause_s, due_s = self._probation[gap]
            until = datetime.fromtimestamp(round(utc_s + due_s - now_s), UTC).replace(tzinfo=None)
            when = "being tried" if gap == self._tried else f"until {until.isoformat()}Z"
            entries.append(f"{gap.table.word} {gap.address}-{gap.end - 1} for {pause_s:.0f} s, {when}")
        self._text = "; ".join(entries)
        if self._text:
            self._state[KEY] = self._text
        else:
            self._state.pop(KEY, None)
        if self._tried is None:
            self._set_next()

    def _set_next(self) -> None:
        self._next_s = min((self._probation[gap].due_s for gap in self._probation), default=math.inf)


def refused_gaps(state: Mapping[str, str]) -> tuple[Gap, ...]:
    """Return the gaps that are not to be read."""
    return tuple(gap for gap, _, until_s in _entries(state.get(KEY, "")) if until_s)


def _holds(request: ReadRequest, gap: Gap) -> bool:
    return (
        request.table is gap.table
        and request.address <= gap.address
        and gap.end <= request.address + request.count
    )


def _entries(text: str) -> Iterator[tuple[Gap, float, float]]:
    """Yield each gap with its pause and its end, UTC; 0 = it is being tried. What nobody wrote is left out."""
    for entry in _ENTRY.finditer(text):
        table, first, last, pause_s, until = entry.groups()
        if table.upper() not in Table.__members__ or not int(first) <= int(last) <= _LAST_ADDRESS:
            continue
        try:
            until_s = datetime.fromisoformat(until).replace(tzinfo=UTC).timestamp() if until else 0.0
        except ValueError:
            continue
        yield Gap(Table[table.upper()], int(first), int(last) + 1), float(pause_s), until_s
