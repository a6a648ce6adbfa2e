"""What gives way when the log is at its bound in bytes or age. On the thread of the file.

The bound is measured, never estimated: pages in use, and a reserve for SQLite's log. It is what is configured, or
what the disk leaves if that is less: a small disk makes SQLite's log small. Rows go by class, the lowest
first, and by id within it; ages are counted by the agent's monotonic clock, so that no step of the wall clock
expires anything, and time that the agent is off does not count.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.model import DeviceId, PublisherId, ReadingClass
from edge_agent.outbox.buffer import PendingRow
from edge_agent.outbox.losses import EVERYBODY, Loss
from edge_agent.outbox.options import OutboxOptions, WhenFull
from edge_agent.outbox.ranges import Ranges, Span
from edge_agent.outbox.rows import Gap, Reason

LOWEST_FIRST = (ReadingClass.TREND, ReadingClass.COUNTER, ReadingClass.EVENT, ReadingClass.ALARM)
GAP_KIND = 1
WAL_BYTES = 8 * 1024 * 1024
"""Kept free within the bound for SQLite's log, less where the bound is small."""

_PAGE_BYTES = 4096
_ROW_BYTES = 200
"""What a row takes in the tree and the indexes besides its body; only a first guess, the pages are counted."""
_PASS_ROWS = 5000
_LEAST_WAL_BYTES = 256 * 1024
_MOST_FREED_BYTES = 64 * 1024 * 1024
"""In one commit, where the bound was lowered: letting go must not hold up the readings of the moment."""
_AGE_MARKS = 100

_VICTIMS = """
    SELECT id, device, class, epoch, n, t_first, t_last, length(body) FROM row INDEXED BY row_by_class
    WHERE class = ? AND kind = ? ORDER BY id LIMIT ?
"""
_BY_ID = "SELECT id, device, class, epoch, n, t_first, t_last, length(body) FROM row WHERE id BETWEEN ? AND ?"


Encoded = tuple[PendingRow, bytes]


@dataclass(slots=True)
class Dropped:
    """What one transaction gave up."""

    rows: Ranges = field(default_factory=Ranges)
    losses: list[Loss] = field(default_factory=list)
    readings: dict[PublisherId, int] = field(default_factory=dict)
    """Committed readings, by the publisher that was owed them."""
    lost: dict[Reason, int] = field(default_factory=dict)
    days: list[tuple[int, DeviceId, int, int]] = field(default_factory=list)
    """For ``Days.count``."""

    def add(
        self, row: Sequence[Any], owed_to: list[PublisherId], everybody: list[PublisherId], why: Reason
    ) -> None:
        """Count a row that was in the log."""
        row_id, device, word, epoch, count, t_first, t_last, _ = row
        self.rows.add(row_id)
        if everybody and not owed_to:
            return  # all have it
        if count == 0:
            return  # a gap record; what it told stays in the ledger
        gap = Gap(word, 1, count, t_first, t_last, why, epoch, row_id, row_id)
        names = [EVERYBODY] if len(owed_to) == len(everybody) else owed_to
        self.losses += [Loss(DeviceId(device), publisher, gap) for publisher in names]
        for publisher in owed_to:
            self.readings[publisher] = self.readings.get(publisher, 0) + count
        self.lost[why] = self.lost.get(why, 0) + count
        self.days.append((t_first, DeviceId(device), 0, count))

    def add_letter(self, loss: Loss) -> None:
        """Count a dead letter that is given up."""
        gap = loss.gap
        self.losses.append(loss)
        self.readings[loss.publisher] = self.readings.get(loss.publisher, 0) + gap.readings
        self.lost[gap.reason] = self.lost.get(gap.reason, 0) + gap.readings
        self.days.append((gap.t_first_ns, loss.device, 0, gap.readings))

    def add_not_taken(self, loss: Loss) -> None:
        """Count readings that never came into the log."""
        self.losses.append(loss)
        self.lost[loss.gap.reason] = self.lost.get(loss.gap.reason, 0) + loss.gap.readings
        self.days.append((loss.gap.t_first_ns, loss.device, loss.gap.readings, loss.gap.readings))


class Retention:
    """Makes room. Each method but ``fit``, ``used_bytes`` and ``fail`` runs in the caller's transaction."""

    def __init__(self, sql: sqlite3.Connection, options: OutboxOptions) -> None:
        self._sql = sql
        self._options = options
        self._most_wal_bytes = wal_bytes = min(WAL_BYTES, options.max_bytes // 4)
        self._wal_bytes = 0
        self._limit_bytes = self._bound_bytes = options.max_bytes - wal_bytes
        self._acknowledged: dict[PublisherId, Ranges] = {}
        self._age_s = float(self._meta("age_s") or 0)
        self._marked_s = self._age_s
        self._last_s: float | None = None
        self._before: tuple[float, int] | None = None
        self._is_known = False
        self._settled_mark_s = self._marked_s
        self._checkpoint_within(wal_bytes)
        sql.execute(f"PRAGMA journal_size_limit = {wal_bytes}")
        # The hard stop, should the measure above ever be wrong; a file that is larger already keeps its size.
        pages = (self._limit_bytes + max(self._limit_bytes // 16, 64 * _PAGE_BYTES)) // _PAGE_BYTES
        sql.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    def fit(self, room_bytes: int, wal_bytes: int) -> None:
        """Take the bound from what the disk leaves: the file and its log, what they have included.

        Where that is less than the pages there are, nothing that is kept gives way; the file only grows no more.

        Args:
            room_bytes: what both together may take.
            wal_bytes: what the log takes now.
        """
        self._checkpoint_within(min(self._most_wal_bytes, max(_LEAST_WAL_BYTES, room_bytes // 4)))
        most_bytes = room_bytes - max(self._wal_bytes, wal_bytes)
        # Not simply the pages there are: a commit may take a few more than it needed, and the next one again.
        pages_bytes = min(self._pages_bytes(), self._bound_bytes)
        self._bound_bytes = min(self._limit_bytes, max(most_bytes, pages_bytes))

    def used_bytes(self) -> int:
        """Return what the pages in use take."""
        free = self._sql.execute("PRAGMA freelist_count").fetchone()[0]
        return self._pages_bytes() - int(free) * _PAGE_BYTES

    def begin(self, publishers: Iterable[PublisherId]) -> Dropped:
        """Begin a transaction, in which nothing has been dropped yet."""
        self._acknowledged = {publisher: Ranges() for publisher in publishers}
        self._is_known = False
        self._settled_mark_s = self._marked_s
        return Dropped()

    def admit(self, encoded: Sequence[Encoded], epoch: str, dropped: Dropped) -> Sequence[Encoded] | None:
        """Make room for new rows as configured; return those that may come in, None = none while it is full."""
        sizes_bytes = [_taken_bytes(len(body)) for _, body in encoded]
        need_bytes = sum(sizes_bytes)
        if not encoded or self.excess_bytes(need_bytes) <= 0:
            return encoded
        is_newest = self._options.when_full is WhenFull.DROP_NEWEST
        if self._options.when_full is WhenFull.BLOCK:
            return None
        before_bytes = self.used_bytes()
        ranks = [LOWEST_FIRST.index(row.reading_class) for row, _ in encoded]
        refused = set()
        for at in sorted(range(len(encoded)), key=lambda at: (ranks[at], -at if is_newest else at)):
            # Nothing gives way to a lower class; to its own only what is older, if that is to go.
            self.evict(need_bytes, dropped, LOWEST_FIRST[: ranks[at] + (not is_newest)])
            # A bound that was lowered is reached in steps, and not by what is new.
            if self.excess_bytes(need_bytes) <= 0 or before_bytes - self.used_bytes() >= need_bytes:
                break
            refused.add(at)
            need_bytes -= sizes_bytes[at]
            why = Reason.NEWEST if is_newest else Reason.FULL
            dropped.add_not_taken(loss_of(encoded[at][0], why, epoch))
        return [one for at, one in enumerate(encoded) if at not in refused]

    def excess_bytes(self, need_bytes: int = 0) -> int:
        """Return by how much the bound would be passed; negative = what is left."""
        return self.used_bytes() + need_bytes - self._bound_bytes

    def evict(self, need_bytes: int, dropped: Dropped, classes: Iterable[ReadingClass] | None = None) -> None:
        """Give up rows until ``need_bytes`` more fit, and about a hundredth of the bound besides.

        Args:
            need_bytes: 0 = only hold the bound.
            dropped: gets what was given up.
            classes: those that may be given up, lowest first; None = all, and gap records last.
        """
        if self.excess_bytes(need_bytes) <= 0:
            return
        before_bytes = self.used_bytes()
        chunk_bytes = max(4 * _PAGE_BYTES, min(self._bound_bytes // 100, _MOST_FREED_BYTES // 4))
        kinds = [(word, 0) for word in (LOWEST_FIRST if classes is None else classes)]
        kinds += [(ReadingClass.EVENT, GAP_KIND)] if classes is None else []
        for word, kind in kinds:
            while (short_bytes := self.excess_bytes(need_bytes) + chunk_bytes) > 0:
                if before_bytes - self.used_bytes() > max(need_bytes, _MOST_FREED_BYTES):
                    return
                victims = list(self._victims(word, kind, min(short_bytes, _MOST_FREED_BYTES)))
                if not victims:
                    break
                self._drop(victims, Reason.FULL, dropped)

    def drop(self, spans: Iterable[Span], why: Reason, dropped: Dropped) -> list[Span]:
        """Give up certain rows; return those that are not even there, of which only the number can be told."""
        missing = Ranges(spans)
        for span in missing.spans():
            rows = self._sql.execute(_BY_ID, span).fetchall()
            for row in rows:
                missing.discard(row[0])
            self._drop(rows, why, dropped)
        return missing.spans()

    def expire(self, now_s: float, last_id: int, dropped: Dropped) -> None:
        """Note how old the log is, and give up what has been kept for too long, some thousand rows at once."""
        max_age_s = self._options.max_age_s
        if max_age_s is None:
            return
        self._age_s += 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        if self._before is not None and self._age_s - self._marked_s >= max(1.0, max_age_s / _AGE_MARKS):
            self._marked_s = self._age_s
            age_s, row_id = self._before
            self._sql.execute("INSERT OR REPLACE INTO age_mark VALUES (?, ?)", (int(age_s) + 1, row_id))
            self._sql.execute("INSERT OR REPLACE INTO meta VALUES ('age_s', ?)", (str(self._age_s),))
        self._before = self._age_s, last_id
        expired = "SELECT max(age_s), row_id FROM age_mark WHERE age_s <= ?"
        mark_s, row_id = self._sql.execute(expired, (self._age_s - max_age_s,)).fetchone()
        if mark_s is None:
            return
        by_id = (
            "SELECT id, device, class, epoch, n, t_first, t_last, length(body) FROM row WHERE id <= ? AND kind = 0"
        )
        old = self._sql.execute(f"{by_id} ORDER BY id LIMIT ?", (row_id, _PASS_ROWS)).fetchall()
        self._drop(old, Reason.AGE, dropped)
        if len(old) < _PASS_ROWS:
            self._sql.execute("DELETE FROM age_mark WHERE age_s <= ?", (mark_s,))

    def fail(self) -> None:
        """The transaction was rolled back, and with it a mark that it may have made: the next one makes it."""
        self._marked_s = self._settled_mark_s

    def _pages_bytes(self) -> int:
        return int(self._sql.execute("PRAGMA page_count").fetchone()[0]) * _PAGE_BYTES

    def _checkpoint_within(self, wal_bytes: int) -> None:
        """Let SQLite's log take ``wal_bytes``, a commit of half of it included."""
        if wal_bytes != self._wal_bytes:
            self._wal_bytes = wal_bytes
            pages = max(16, min(1000, wal_bytes // 2 // _PAGE_BYTES))
            self._sql.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchall()

    def _victims(self, word: ReadingClass, kind: int, short_bytes: int) -> Iterator[Sequence[Any]]:
        for row in self._sql.execute(_VICTIMS, (word.value, kind, _PASS_ROWS)):
            yield row
            short_bytes -= _taken_bytes(row[-1])
            if short_bytes <= 0:
                return

    def _drop(self, rows: Sequence[Sequence[Any]], why: Reason, dropped: Dropped) -> None:
        if not self._is_known:
            self._is_known = True
            for publisher, first, last in self._sql.execute("SELECT publisher, first, last FROM acknowledged"):
                if publisher in self._acknowledged:
                    self._acknowledged[publisher].add(first, last)
        everybody = list(self._acknowledged)
        for row in rows:
            owed_to = [publisher for publisher, has in self._acknowledged.items() if row[0] not in has]
            dropped.add(row, owed_to, everybody, why)
        self._sql.executemany("DELETE FROM row WHERE id = ?", [(row[0],) for row in rows])

    def _meta(self, key: str) -> str | None:
        found = self._sql.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None


def loss_of(row: PendingRow, why: Reason, epoch: str) -> Loss:
    """Return the loss of readings that never came into the log."""
    t_first, t_last = row.time_span()
    gap = Gap(row.reading_class.value, 0, row.count, t_first, t_last, why, epoch, 0, 0)
    return Loss(row.table.device, EVERYBODY, gap)


def _taken_bytes(body_bytes: int) -> int:
    """Return about what a row takes: a part of a page, or whole ones."""
    size_bytes = body_bytes + _ROW_BYTES
    return size_bytes if size_bytes < _PAGE_BYTES // 2 else (size_bytes // (_PAGE_BYTES - 300) + 1) * _PAGE_BYTES
