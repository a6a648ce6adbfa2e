"""What the times of a row were reckoned from, and how far they were wrong. Lives on the loop.

While a boot's clock is not set, rows name the anchor of their times. When it is set, the difference between the
two anchors of one boot is how far the earlier times were off, whichever process took them.
"""

from array import array
from collections.abc import Iterable
from dataclasses import replace

from edge_agent.clock import STEP_NS, Anchor
from edge_agent.model import Column, ReadingBatch
from edge_agent.outbox.rows import Row

Entry = tuple[int, Anchor]
"""An anchor and its number in the file."""

MAX_ANCHORS = 1000
"""The newest that are kept: one for each boot, and one for each step of a clock that is not set."""


class Anchors:
    """The anchors in the file and those that the next commit puts there.

    Args:
        known: what is in the file.
    """

    def __init__(self, known: Iterable[Entry] = ()) -> None:
        self._numbers: dict[Anchor, int] = {}
        self._offsets_ns: dict[int, tuple[str, int]] = {}
        self._synced: dict[str, int] = {}
        self._new: list[Entry] = []
        self._entries: dict[int, Anchor] = {}
        self._last = 0
        for number, anchor in known:
            self._keep(number, anchor)

    def number_of(self, anchor: Anchor | None) -> int | None:
        """Return the number of an anchor, given if it is new; None for one that is right."""
        if anchor is None:
            return None
        if anchor not in self._numbers:
            self._add(anchor)
        return self._numbers[anchor]

    def note(self, synced: Anchor | None) -> None:
        """The clock is set; of each boot the first such anchor is kept."""
        if synced is not None and synced.boot_id not in self._synced:
            self._add(synced)

    def shift_ns(self, number: int | None) -> int:
        """Return what to add to times that were reckoned from an anchor; 0 where nobody knows."""
        if number is None or number not in self._offsets_ns:
            return 0
        boot_id, offset_ns = self._offsets_ns[number]
        shift_ns = self._synced.get(boot_id, offset_ns) - offset_ns
        return shift_ns if abs(shift_ns) > STEP_NS else 0

    def correct(self, rows: list[Row]) -> list[Row]:
        """Return rows with the times that are right, as far as they are known."""
        return [shifted(row, shift_ns) if (shift_ns := self.shift_ns(row.anchor)) else row for row in rows]

    def new(self) -> tuple[Entry, ...]:
        """Return what the next commit writes."""
        return tuple(self._new)

    def settle(self, written: tuple[Entry, ...]) -> None:
        """These are on disk."""
        self._new = self._new[len(written) :]

    def renew(self, known: Iterable[Entry], *, is_new: bool) -> None:
        """Take what is in a file; if it is a new one, the next commit writes them all."""
        for number, anchor in known:
            self._keep(number, anchor)
        if is_new:
            self._new = sorted(self._entries.items())[-MAX_ANCHORS:]

    def _add(self, anchor: Anchor) -> None:
        self._new.append((self._last + 1, anchor))
        self._keep(self._last + 1, anchor)

    def _keep(self, number: int, anchor: Anchor) -> None:
        self._last = max(self._last, number)
        self._entries[number] = anchor
        if anchor.is_synced:
            self._synced.setdefault(anchor.boot_id, anchor.offset_ns)
        else:
            self._numbers[anchor] = number
            self._offsets_ns[number] = anchor.boot_id, anchor.offset_ns


def shifted(row: Row, shift_ns: int) -> Row:
    """Return the row as it would be, had the clock been ``shift_ns`` later.

    A reading with a time of its source, or of a server, may have it from a clock that was right: the time that is
    nearer to the corrected one holds, for each of the two.
    """
    batches = tuple(
        replace(
            batch,
            time_ns=batch.time_ns + shift_ns,
            columns=tuple(
                column if column.offsets_ns is None is column.lags_ns else _shifted_column(column, shift_ns)
                for column in batch.columns
            ),
        )
        for batch in row.batches
    )
    first_ns, last_ns = time_span(batches) if batches else (row.t_first_ns, row.t_last_ns)
    return replace(row, batches=batches, t_first_ns=first_ns, t_last_ns=last_ns)


def time_span(batches: Iterable[ReadingBatch]) -> tuple[int, int]:
    """Return the earliest and the latest time of readings."""
    firsts, lasts = [], []
    for batch in batches:
        for column in batch.columns:
            offsets_ns = column.offsets_ns or (0,)
            firsts.append(batch.time_ns + min(offsets_ns))
            lasts.append(batch.time_ns + max(offsets_ns))
    return min(firsts), max(lasts)


def _shifted_column(column: Column, shift_ns: int) -> Column:
    def nearer(offset_ns: int) -> int:
        return min(offset_ns, offset_ns - shift_ns, key=abs)

    told = column.offsets_ns or array("q", bytes(8 * len(column)))
    offsets_ns = None if column.offsets_ns is None else array("q", map(nearer, told))
    lags_ns = None
    if column.lags_ns is not None:
        both = zip(told, column.lags_ns, strict=True)
        lags_ns = array("q", [nearer(own_ns + lag_ns) - nearer(own_ns) for own_ns, lag_ns in both])
    return replace(column, offsets_ns=offsets_ns, lags_ns=lags_ns)
