"""The file of the outbox: SQL on one connection, used by one thread.

WAL with synchronous=FULL: what a commit reported is there after a power cut. Exactly one connection writes and
checkpoints (SQLite before 3.51.3 can lose pages with two); readers open the file ``mode=ro``.
"""

import logging
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from edge_agent.clock import Anchor
from edge_agent.errors import OutboxCorruptError, OutboxFullError, OutboxReadOnlyError
from edge_agent.model import DeviceId, PointTable, PublisherId, ReadingClass
from edge_agent.outbox import codec
from edge_agent.outbox.accounts import Books
from edge_agent.outbox.anchors import MAX_ANCHORS
from edge_agent.outbox.buffer import PendingRow
from edge_agent.outbox.faults import translated
from edge_agent.outbox.kept import has_unknown, load_kept, note_gone, note_holes, note_unknown, scan_kept
from edge_agent.outbox.learned import Entry
from edge_agent.outbox.ledger import Plan
from edge_agent.outbox.losses import EVERYBODY, GAP_CODEC, Loss, encode_gap
from edge_agent.outbox.mark import Mark
from edge_agent.outbox.migrations import migrate
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.ranges import Ranges, Span
from edge_agent.outbox.records import (
    COLUMNS,
    Loaded,
    Read,
    SavedRow,
    Written,
    decode_row,
    parse_table,
    seal,
)
from edge_agent.outbox.reserve import Reserve
from edge_agent.outbox.retention import GAP_KIND, Encoded
from edge_agent.outbox.rows import Row
from edge_agent.outbox.tables import TableCopy
from edge_agent.outbox.upkeep import Moment, Upkeep
from edge_agent.outbox.wear import Wear

_log = logging.getLogger(__name__)

_BUSY_TIMEOUT_S = 5.0
_SPARE_PAGES = 4096
"""Free pages that stay in the file for reuse; more go back to the file system, ``_SHRINK_PAGES`` a commit."""
_SHRINK_PAGES = 512
_NO_MOMENT = Moment()
GENERATION_ROWS = 2**40
"""Row ids of a new file that follows a damaged one begin at the next multiple of this."""

_INSERT_ROW = """
    INSERT INTO row (epoch, id, device, class, table_version, n, t_first, t_last, codec, crc, body, kind, anchor)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_DELETE_UNUSED_TABLES = """
    DELETE FROM point_table
    WHERE NOT EXISTS (SELECT 1 FROM row WHERE row.table_version = point_table.version)
    AND version NOT IN (SELECT table_version FROM dead_letter)
"""
_SELECT_ROWS = f"SELECT {COLUMNS} FROM row WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608 - our own text


class LogFile:
    """The open database. Every method runs on the thread that opened it and blocks.

    Args:
        path: created if it is not there.
        machine: what the operating system calls this machine; empty = unknown. Another one than last time means
            that the directory was copied: rows keep their epoch, new ones get a new one.
        now_ns: for what people read.

    Raises:
        OutboxError: it cannot be opened, is no outbox, or was written by a newer release.
    """

    def __init__(self, path: Path, machine: str, now_ns: int, options: OutboxOptions | None = None) -> None:
        self._path, self._wal = path, Path(f"{path}-wal")
        self._wear = Wear()
        options = options or OutboxOptions(path.parent)
        self._mark = Mark(path.parent)
        self._copy = TableCopy(path.parent)
        self._reserve = Reserve(path.parent, options.reserve_bytes)
        self._versions: dict[tuple[DeviceId, str], int] = {}
        self._tables: dict[int, PointTable] = {}
        with translated(path):
            self._sql = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            try:
                self._sql.execute("PRAGMA synchronous = FULL")
                migrate(self._sql, path)
                self._sql.execute("PRAGMA mmap_size = 0")
                self.upkeep = Upkeep(self._sql, options)
                with self._transaction():
                    self._has_moved = self._claim(machine, now_ns)
                self.epoch = str(self._meta("epoch"))
            except BaseException:
                self._sql.close()
                raise

    def load(
        self, publishers: Sequence[PublisherId], now_ns: int, starts_now: Collection[PublisherId] = ()
    ) -> Loaded:
        """Make ``publishers`` the configured ones and return the state of the log for them.

        Those of ``starts_now`` that were never configured before get nothing of what is there already.
        """
        with translated(self._path):
            last_id = self._last_id()
            with self._transaction():
                are_the_same = self._configure(publishers, now_ns, starts_now)
                acknowledged = self._acknowledged(publishers, last_id)
                kept = self._kept(acknowledged, last_id, are_the_same=are_the_same)
            learned = self._sql.execute("SELECT device, key, value FROM learned").fetchall()
            return Loaded(kept, last_id, acknowledged, learned, self._anchors(), self._has_moved)

    def _acknowledged(self, publishers: Sequence[PublisherId], last_id: int) -> dict[PublisherId, Ranges]:
        acknowledged = {publisher: Ranges() for publisher in publishers}
        for publisher, first, last in self._sql.execute("SELECT publisher, first, last FROM acknowledged"):
            if publisher in acknowledged and 0 < first <= min(last, last_id):  # else: damaged
                acknowledged[publisher].add(first, min(last, last_id))
        return acknowledged

    def _kept(self, acknowledged: Mapping[PublisherId, Ranges], last_id: int, *, are_the_same: bool) -> Ranges:
        first_id = int(self._meta("generation") or 0) * GENERATION_ROWS + 1
        if are_the_same and not has_unknown(self._sql):
            return load_kept(self._sql, acknowledged, last_id, first_id)
        kept = scan_kept(self._sql, last_id)
        note_holes(self._sql, kept, last_id, first_id)
        return kept

    def begin_at(self, first_id: int) -> None:
        """Let the ids of a new file begin behind ``first_id``."""
        with translated(self._path), self._transaction():
            self._sql.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('row', ?)", (first_id,))
            self._sql.execute(
                "INSERT OR REPLACE INTO meta VALUES ('generation', ?)", (str(first_id // GENERATION_ROWS),)
            )

    def restore(
        self, saved: Sequence[tuple[SavedRow, int | None]], has: Mapping[PublisherId, Ranges]
    ) -> tuple[Ranges, Books]:
        """Put rows back under their own epoch and id, each with the number of its anchor.

        Args:
            saved: rows of a file that was set aside.
            has: what publishers got already; they are owed the rest.

        Returns:
            the rows that were not there yet, and the accounts.

        Raises:
            OutboxError: as for ``write``; nothing was restored.
        """
        restored, accounts = Ranges(), self.upkeep.accounts
        with translated(self._path):
            try:
                with self._transaction():
                    for row, anchor in saved:
                        if self._restore(row, anchor):
                            restored.add(row.id)
                            accounts.owe(row.count, [one for one, ids in has.items() if row.id not in ids])
                    accounts.write()
            except BaseException:
                self._versions.clear()
                accounts.fail()
                raise
            accounts.settle()
        return restored, accounts.books()

    def _restore(self, row: SavedRow, anchor: int | None) -> bool:
        values = (row.device, row.word, self._version(row.table), row.count, row.t_first_ns, row.t_last_ns)
        end = (row.codec, row.crc, row.body, row.kind, anchor)
        insert = _INSERT_ROW.replace("INSERT", "INSERT OR IGNORE", 1)
        return self._sql.execute(insert, (row.epoch, row.id, *values, *end)).rowcount > 0

    def _configure(
        self, publishers: Sequence[PublisherId], now_ns: int, starts_now: Collection[PublisherId]
    ) -> bool:
        """Return whether the same ones were configured before."""
        known = dict(self._sql.execute("SELECT id, configured FROM publisher").fetchall())
        last_id = self._last_id()
        self._sql.execute("UPDATE publisher SET configured = 0")
        self._sql.executemany(
            "INSERT INTO publisher (id, configured, added_ns) VALUES (?, 1, ?)"
            " ON CONFLICT (id) DO UPDATE SET configured = 1",
            [(publisher, now_ns) for publisher in publishers],
        )
        for publisher in publishers:
            if publisher not in known and publisher in starts_now and last_id:
                self._sql.execute("INSERT INTO acknowledged VALUES (?, 1, ?)", (publisher, last_id))
        self.upkeep.accounts.open(publishers, [one for one in publishers if not known.get(one)])
        return {one for one, is_configured in known.items() if is_configured} == set(publishers)

    def _anchors(self) -> list[tuple[int, Anchor]]:
        found = self._sql.execute("SELECT id, boot_id, monotonic_ns, wall_ns, is_synced FROM anchor ORDER BY id")
        return [
            (number, Anchor(boot_id, monotonic_ns, wall_ns, bool(is_synced)))
            for number, boot_id, monotonic_ns, wall_ns, is_synced in found
        ]

    def _last_id(self) -> int:
        found = self._sql.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'row'").fetchone()[0]
        return int(found or 0)

    def write(
        self,
        rows: Sequence[PendingRow],
        first_id: int,
        plan: Plan,
        learned: Sequence[Entry],
        moment: Moment = _NO_MOMENT,
    ) -> Written:
        """Commit; on return everything is on disk, after an error nothing of it.

        Raises:
            OutboxFullError: no space; may be tried again.
            OutboxIOError: the disk failed; what is in memory can no longer be trusted to reach it.
            OutboxCorruptError: the file is damaged.
            OutboxError: somebody else holds the file; may be tried again.
        """
        encoded = [(row, codec.encode(row.batches)) for row in rows]  # before the transaction: keep it short
        with translated(self._path):
            self.upkeep.retention.fit(self.size_bytes() + self._reserve.spare_bytes, _size_bytes(self._wal))
        try:
            written = self._commit(encoded, first_id, plan, learned, moment)
        except OutboxFullError:
            if not self._reserve.throw_off():
                raise
            written = self._commit(encoded, first_id, plan, learned, moment)
        self._mark.write(first_id + len(written.rows) - 1)
        with suppress(OutboxFullError, OutboxReadOnlyError):  # the commit is on disk, whatever becomes of this
            self._shrink()
        self._reserve.take_on()
        return replace(written, size_bytes=self.size_bytes(), written_bytes=self._wear.take())

    def _commit(
        self, encoded: Sequence[Encoded], first_id: int, plan: Plan, learned: Sequence[Entry], moment: Moment
    ) -> Written:
        with translated(self._path):
            try:
                with self._transaction():
                    written = self._write(encoded, first_id, plan, learned, moment)
            except BaseException as exc:
                self._versions.clear()
                self.upkeep.fail()
                if isinstance(exc, ValueError | TypeError):  # a value in the file that was never written
                    raise OutboxCorruptError(f"{self._path}: {exc}") from exc
                raise
        self.upkeep.settle()
        return written

    def _write(
        self, encoded: Sequence[Encoded], first_id: int, plan: Plan, learned: Sequence[Entry], moment: Moment
    ) -> Written:
        upkeep = self.upkeep
        dropped = upkeep.begin(plan, moment.wall_ns, self.epoch)
        self._store(plan, learned)
        self._store_anchors(moment.anchors)
        admitted = upkeep.admit(encoded, self.epoch)
        taken = admitted or ()
        rows = [self._insert(row, body, first_id + i) for i, (row, body) in enumerate(taken)]
        last_id = first_id + len(rows) - 1
        reports = upkeep.taken(rows, last_id, moment)
        gaps = [self._insert_gap(loss, last_id + i) for i, (_, loss) in enumerate(reports, start=1)]
        if plan.released or dropped.rows:
            self._forget_tables()
        upkeep.end([number for number, _ in reports], moment)
        note_gone(self._sql, dropped.rows)
        return Written(
            rows + [row for row, _ in gaps],
            [row.size_bytes for row, _ in taken] + [row.body_bytes for row, _ in gaps],
            [(publisher, row.id) for row, others in gaps for publisher in others],
            dropped,
            upkeep.accounts.books(),
            is_blocked=admitted is None,
            size_bytes=0,
            used_bytes=upkeep.retention.used_bytes(),
            written_bytes=0,
            oldest_ns=self._taken_ns(plan.oldest),
        )

    def _taken_ns(self, rows: Mapping[PublisherId, int]) -> dict[PublisherId, int]:
        """Return when the first reading of each row was taken, of those that are still there."""
        found = (
            (publisher, self._sql.execute("SELECT t_first FROM row WHERE id = ?", (row_id,)).fetchone())
            for publisher, row_id in rows.items()
        )
        return {publisher: taken[0] for publisher, taken in found if taken is not None}

    def read(self, spans: Sequence[Span], read: Read) -> None:
        """Read the rows of ``spans``, as many as ``read`` allows, and decode them.

        A row that cannot be read back is reported and costs no other.

        Raises:
            OutboxIOError: the disk failed.
            OutboxError: somebody else holds the file; may be tried again.
        """
        for first, last in spans:
            read.last_id = first - 1
            try:
                self._read_span(first, last, read)
            except OutboxCorruptError:
                self._read_one_by_one(last, read)
            if read.last_id < last:
                break

    def change_dead_letters(self, ids: Iterable[int] | None, *, put_back: bool, now_ns: int) -> int:
        """Put dead letters back into the log, or give them up; None = all. Return how many there were."""
        letters = self.upkeep.dead_letters
        with translated(self._path), self._transaction():
            publishers = [one for (one,) in self._sql.execute("SELECT id FROM publisher WHERE configured = 1")]
            self.upkeep.accounts.open(publishers, ())
            chosen = letters.ids() if ids is None else ids
            if put_back:
                note_unknown(self._sql)
                return letters.put_back(chosen)
            moment = Moment(now_ns, is_last=True)
            dropped = self.upkeep.begin(Plan())
            count = letters.give_up(chosen, dropped)
            self.upkeep.taken([], self._last_id(), moment)  # the agent writes the gap records when it starts
            self.upkeep.end([], moment)
            note_gone(self._sql, dropped.rows)
            return count

    def size_bytes(self) -> int:
        """Return what the database and its log take on disk."""
        return _size_bytes(self._path) + _size_bytes(self._wal)

    def close(self) -> None:
        """Close the file; checkpoints what is in the log. Silent when called twice."""
        with translated(self._path):
            self._sql.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._sql.execute("COMMIT")
        except BaseException:
            if self._sql.in_transaction:  # SQLite has rolled back by itself after some errors
                self._sql.execute("ROLLBACK")
            raise

    def _meta(self, key: str) -> str | None:
        found = self._sql.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def _claim(self, machine: str, now_ns: int) -> bool:
        """Give a new file its epoch, and a new one to a file that came from another machine."""
        before, is_new = self._meta("machine"), self._meta("epoch") is None
        has_moved = bool(before and machine and before != machine)
        values = {"machine": machine or before or ""}
        if is_new:
            values["created_ns"] = str(now_ns)
        if is_new or has_moved:
            values["epoch"] = secrets.token_hex(8)
        self._sql.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())
        return has_moved

    def _version(self, table: PointTable) -> int:
        key = (table.device, table.digest)
        if key not in self._versions:
            found = self._sql.execute(
                "SELECT version FROM point_table WHERE device = ? AND digest = ?", key
            ).fetchone()
            if found is None:
                insert = "INSERT INTO point_table (device, digest, content) VALUES (?, ?, ?) RETURNING version"
                found = self._sql.execute(insert, (*key, table.to_json())).fetchone()
                self._copy.add(found[0], table)
            self._versions[key] = found[0]
        return self._versions[key]

    def _insert(self, row: PendingRow, body: bytes, row_id: int) -> Row:
        t_first, t_last = row.time_span()
        version = self._version(row.table)
        device, word, crc = row.table.device, row.reading_class.value, seal(self.epoch, row_id, body)
        number = codec.HISTORICAL_CODEC if row.is_historical else codec.CODEC
        values = (self.epoch, row_id, device, word, version, row.count, t_first, t_last, number, crc, body)
        self._sql.execute(_INSERT_ROW, (*values, 0, row.anchor))
        return Row(
            self.epoch,
            row_id,
            row.table,
            row.reading_class,
            row.count,
            t_first,
            t_last,
            tuple(row.batches),
            historical=row.is_historical,
            body_bytes=len(body),
            anchor=row.anchor,
        )

    def _store(self, plan: Plan, learned: Sequence[Entry]) -> None:
        for publisher, spans in plan.acknowledged.items():
            self._sql.execute("DELETE FROM acknowledged WHERE publisher = ?", (publisher,))
            rows = [(publisher, first, last) for first, last in spans]
            self._sql.executemany("INSERT INTO acknowledged VALUES (?, ?, ?)", rows)
        if plan.released:
            self._sql.executemany("DELETE FROM row WHERE id BETWEEN ? AND ?", plan.released)
        for device, key, value in learned:
            if value is None:
                self._sql.execute("DELETE FROM learned WHERE device = ? AND key = ?", (device, key))
            else:
                self._sql.execute("INSERT OR REPLACE INTO learned VALUES (?, ?, ?)", (device, key, value))

    def _store_anchors(self, anchors: Sequence[tuple[int, Anchor]]) -> None:
        if not anchors:
            return
        rows = [(number, one.boot_id, one.monotonic_ns, one.wall_ns, one.is_synced) for number, one in anchors]
        self._sql.executemany("INSERT OR REPLACE INTO anchor VALUES (?, ?, ?, ?, ?)", rows)
        self._sql.execute("DELETE FROM anchor WHERE id <= ?", (rows[-1][0] - MAX_ANCHORS,))

    def _forget_tables(self) -> None:
        """Point tables go with their last row."""
        if self._sql.execute(_DELETE_UNUSED_TABLES).rowcount:
            self._versions.clear()
            self._tables.clear()

    def _insert_gap(self, loss: Loss, row_id: int) -> tuple[Row, list[PublisherId]]:
        """Write a gap record; return also who does not get it."""
        table, gap, body = PointTable(loss.device, ()), loss.gap, encode_gap(loss.gap)
        version, word, crc = self._version(table), ReadingClass.EVENT, seal(self.epoch, row_id, body)
        times = gap.t_first_ns, gap.t_last_ns
        values = (self.epoch, row_id, loss.device, word.value, version, 0, *times, GAP_CODEC, crc, body)
        self._sql.execute(_INSERT_ROW, (*values, GAP_KIND, None))
        others = [one for one in self.upkeep.accounts.publishers if loss.publisher not in {EVERYBODY, one}]
        self._sql.executemany(
            "INSERT INTO acknowledged VALUES (?, ?, ?)", [(publisher, row_id, row_id) for publisher in others]
        )
        row = Row(self.epoch, row_id, table, word, 0, *times, (), historical=False, body_bytes=len(body), gap=gap)
        return row, others

    def _shrink(self) -> None:
        with translated(self._path):
            if self._sql.execute("PRAGMA freelist_count").fetchone()[0] > _SPARE_PAGES:
                # Not execute: it steps a statement without columns once, which frees one page.
                self._sql.executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")

    def _read_span(self, first: int, last: int, read: Read) -> None:
        with translated(self._path), closing(self._sql.execute(_SELECT_ROWS, (first, last))) as records:
            for record in records:
                row_id, body_bytes = record[1], len(record[-1] or b"")
                if read.rows_left <= 0 or (read.bytes_left < body_bytes and read.rows):
                    return
                read.rows_left -= 1
                read.bytes_left -= body_bytes
                read.lose(read.last_id + 1, row_id - 1)
                read.last_id = row_id
                try:
                    read.rows.append(decode_row(record, self._table(record[4]), historical=read.historical))
                except OutboxCorruptError:
                    read.damaged.append(row_id)
        read.lose(read.last_id + 1, last)
        read.last_id = last

    def _read_one_by_one(self, last: int, read: Read) -> None:
        """Read on round a damaged page of the file."""
        for row_id in range(read.last_id + 1, last + 1):
            if read.rows_left <= 0:
                return
            try:
                self._read_span(row_id, row_id, read)
            except OutboxCorruptError:
                read.rows_left -= 1
                read.lose(row_id, row_id)
                read.last_id = row_id
            if read.last_id < row_id:
                return

    def _table(self, version: int) -> PointTable:
        if version not in self._tables:
            found = self._sql.execute("SELECT content FROM point_table WHERE version = ?", (version,)).fetchone()
            try:
                self._tables[version] = parse_table(found[0] if found else "")
            except OutboxCorruptError:
                copied = self._copy.read().get(version)
                if copied is None:
                    raise
                self._tables[version] = copied
        return self._tables[version]


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
