"""Looks into an outbox from outside, beside a running agent: reads only, each query a transaction of its own."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_agent.errors import OutboxCorruptError, OutboxError
from edge_agent.model import Column, DataType, DeviceId, PublisherId, ReadingBatch, is_bad
from edge_agent.outbox.faults import translated
from edge_agent.outbox.kept import KEPT_SQL
from edge_agent.outbox.ledger import Ledger
from edge_agent.outbox.migrations import NEWEST_SCHEMA, schema_version
from edge_agent.outbox.ranges import Ranges
from edge_agent.outbox.records import COLUMNS, decode_row, parse_table
from edge_agent.outbox.rows import Row

_LETTERS_SQL = """
    SELECT id, publisher, reason, noted_ns, row_id AS row, epoch, device, class, n AS readings,
           t_first AS t_first_ns, t_last AS t_last_ns, length(body) AS bytes
    FROM dead_letter ORDER BY id
"""
_LETTER_SQL = """
    SELECT publisher, reason, epoch, row_id, dead_letter.device, class, table_version, n, t_first, t_last,
           codec, crc, anchor, body, content
    FROM dead_letter LEFT JOIN point_table ON version = table_version WHERE id = ?
"""
_BY_DEVICE_SQL = """
    SELECT device, class, sum(rows) AS rows, sum(readings) AS readings
    FROM (SELECT table_version, class, count(*) AS rows, sum(n) AS readings FROM row GROUP BY table_version, class)
    JOIN point_table ON version = table_version
    GROUP BY device, class ORDER BY device, class
"""
_SHOW_SQL = f"""
    SELECT {COLUMNS}, content FROM row LEFT JOIN point_table ON version = table_version
    WHERE :device IS NULL OR row.device = :device ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 - our own text
_LOSSES_SQL = """
    SELECT * FROM (
        SELECT id, device, class, publisher, epoch, row_first, row_last, rows, readings, t_first AS t_first_ns,
            t_last AS t_last_ns, reason, noted_ns, points
        FROM loss WHERE :device IS NULL OR device = :device ORDER BY id DESC LIMIT :limit
    ) ORDER BY id
"""
_DAYS_SQL = """
    SELECT day, device, committed, lost FROM day WHERE :device IS NULL OR device = :device ORDER BY day, device
"""
_DEVICES_SQL = """
    SELECT DISTINCT device FROM point_table
    WHERE EXISTS (SELECT 1 FROM row WHERE table_version = version) ORDER BY device
"""
_COUNT_SQL = """
    SELECT count(*) AS rows, coalesce(max(id), 0) AS last_id FROM row WHERE :device IS NULL OR device = :device
"""
_PAGE_SQL = f"""
    SELECT {COLUMNS}, content FROM row LEFT JOIN point_table ON version = table_version
    WHERE id > :after AND id <= :last AND (:device IS NULL OR row.device = :device) ORDER BY id LIMIT :limit
"""  # noqa: S608 - our own text
EXPORT_PAGE_ROWS = 100


def status(path: Path) -> dict[str, Any]:
    """Return what is in the outbox at ``path``, ready for JSON. Times are ns; None where there is no row.

    Raises:
        OutboxError: there is none, or it cannot be read.
    """
    with _reader(path) as database:
        meta = {row["key"]: row["value"] for row in database.query("SELECT key, value FROM meta")}
        classes = list(database.query(_BY_DEVICE_SQL))
        newest = next(database.query("SELECT max(seq) AS id FROM sqlite_sequence WHERE name = 'row'"))["id"] or 0
        kept = Ranges(tuple(row.values()) for row in database.query(KEPT_SQL))
        ends = list(database.query("SELECT t_first, t_last FROM row WHERE id IN (SELECT min(id) FROM row)"))
        ends += database.query("SELECT t_first, t_last FROM row WHERE id IN (SELECT max(id) FROM row)")
        return {
            "path": str(path),
            "epoch": meta.get("epoch"),
            "machine": meta.get("machine"),
            "created_ns": int(meta.get("created_ns", 0)),
            "schema": schema_version(database.conn, path),
            "bytes": sum(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists()),
            "rows": sum(entry["rows"] for entry in classes),
            "readings": sum(entry["readings"] for entry in classes),
            "newest_row": newest,
            "oldest_ns": ends[0]["t_first"] if ends else None,
            "newest_ns": ends[-1]["t_last"] if ends else None,
            "devices": classes,
            "publishers": _publishers(database, kept, newest),
        }


def show(path: Path, *, device: DeviceId | None = None, limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest rows in id order, each reading under the name that its point had when it was taken.

    A row that cannot be read back has the reason under ``damaged`` instead of ``readings``.

    Raises:
        OutboxError: there is no outbox at ``path``, it cannot be read, or it has no row of ``device``.
    """
    with _reader(path) as database:
        records = database.execute(_SHOW_SQL, {"device": device, "limit": limit}).fetchall()
        if device is not None and not records:
            raise _no_rows(database, device)
    return [_row(record[:-1], record[-1] or "") for record in reversed(records)]


def losses(path: Path, *, device: DeviceId | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Return the newest entries of the ledger of losses, the oldest of them first. Times are ns.

    Raises:
        OutboxError: there is no outbox at ``path``, or it cannot be read.
    """
    with _reader(path) as database:
        entries = list(database.query(_LOSSES_SQL, {"device": device, "limit": limit}))
    return [entry | {"points": json.loads(entry["points"] or "[]")} for entry in entries]


def days(path: Path, *, device: DeviceId | None = None) -> list[dict[str, Any]]:
    """Return for each UTC day and device how many readings came in, how many of them are lost, and the ratio.

    Raises:
        OutboxError: there is no outbox at ``path``, or it cannot be read.
    """
    with _reader(path) as database:
        found = list(database.query(_DAYS_SQL, {"device": device}))
    return [day | {"complete": 1 - day["lost"] / day["committed"] if day["committed"] else None} for day in found]


class Export:
    """Goes through all rows that are kept, a page at a time: no read transaction is longer than a page.

    Rows that come in meanwhile are left out; rows that go meanwhile may be.

    Attributes:
        total: rows when it began.
        done: rows that were gone through.
        damaged: of these, those that could not be read back.

    Raises:
        OutboxError: there is no outbox at ``path``, it cannot be read, or it has no row of ``device``.
    """

    def __init__(self, path: Path, device: DeviceId | None = None) -> None:
        self.done = self.damaged = 0
        self._path = path
        self._device = device
        with _reader(path) as database:
            counted = next(database.query(_COUNT_SQL, {"device": device}))
            if device is not None and not counted["rows"]:
                raise _no_rows(database, device)
        self.total: int = counted["rows"]
        self._last_id: int = counted["last_id"]

    def readings(self) -> Iterator[dict[str, Any]]:
        """Yield each reading, in the order of the log.

        Raises:
            OutboxError: the outbox cannot be read any more.
        """
        row_id = 0
        with _reader(self._path) as database:
            while True:
                about = {"device": self._device, "after": row_id, "last": self._last_id, "limit": EXPORT_PAGE_ROWS}
                page = database.execute(_PAGE_SQL, about).fetchall()
                if not page:
                    return
                for record in page:
                    row_id = record[1]
                    self.done += 1
                    row = _row(record[:-1], record[-1] or "")
                    self.damaged += "damaged" in row
                    about_row = {key: row[key] for key in ("epoch", "row", "device", "class")}
                    for reading in row.get("readings", ()):
                        yield about_row | reading


def dead_letters(path: Path) -> list[dict[str, Any]]:
    """Return what brokers refused for what it is, the oldest first, without the readings.

    Raises:
        OutboxError: there is no outbox at ``path``, or it cannot be read.
    """
    with _reader(path) as database:
        return list(database.query(_LETTERS_SQL))


def dead_letter(path: Path, number: int) -> dict[str, Any]:
    """Return one dead letter with its readings.

    Raises:
        OutboxError: there is no such dead letter, no outbox at ``path``, or it cannot be read.
    """
    with _reader(path) as database:
        record = database.execute(_LETTER_SQL, (number,)).fetchone()
    if record is None:
        raise OutboxError(f"there is no dead letter {number}; see `edge-agent outbox dead-letter list`")
    publisher, reason, *row, content = record
    return {"id": number, "publisher": publisher, "reason": reason} | _row(tuple(row), content or "")


@contextmanager
def _reader(path: Path) -> Iterator[Any]:
    # Imported only by who looks into the file: 26 MB.
    from sqlite_utils import Database  # noqa: PLC0415

    if not path.is_file():
        raise OutboxError(f"there is no outbox at {path}")
    with translated(path):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            version = schema_version(connection, path)
            if version == 0:
                raise OutboxError(f"{path} is empty: no agent has used it yet")
            if version < NEWEST_SCHEMA:
                raise OutboxError(
                    f"{path} was written by an older release (schema {version}); it is brought up to date when the"
                    " agent starts"
                )
            yield Database(connection, recursive_triggers=False, execute_plugins=False)
        finally:
            connection.close()


def _no_rows(database: Any, device: DeviceId) -> OutboxError:
    names = ", ".join(row["device"] for row in database.query(_DEVICES_SQL))
    others = f"there are rows of {names}" if names else "there are no rows at all"
    return OutboxError(f"there is no row of {device} in the outbox; {others}")


def _publishers(database: Any, kept: Ranges, newest: int) -> list[dict[str, Any]]:
    about = "SELECT id, configured, owed, confirmed, dropped FROM publisher ORDER BY id"
    publishers = list(database.query(about))
    acknowledged = {PublisherId(publisher["id"]): Ranges() for publisher in publishers}
    for row in database.query("SELECT publisher, first, last FROM acknowledged"):
        acknowledged[row["publisher"]].add(row["first"], row["last"])
    ledger = Ledger(kept, newest, acknowledged)
    return [
        {
            "id": publisher["id"],
            "configured": bool(publisher["configured"]),
            "pending_rows": ledger.pending(publisher["id"]),
            "committed_readings": publisher["owed"],
            "confirmed_readings": publisher["confirmed"],
            "dropped_readings": publisher["dropped"],
            "pending_readings": publisher["owed"] - publisher["confirmed"] - publisher["dropped"],
            "acknowledged": acknowledged[publisher["id"]].spans(),
        }
        for publisher in publishers
    ]


def _row(record: tuple[Any, ...], content: str) -> dict[str, Any]:
    epoch, row_id, device, word, _, count, t_first, t_last = record[:8]
    shown = {
        "epoch": epoch,
        "row": row_id,
        "device": device,
        "class": word,
        "count": count,
        "t_first_ns": t_first,
        "t_last_ns": t_last,
        "bytes": len(record[-1]),
    }
    try:
        row = decode_row(record, parse_table(content), historical=True)
    except OutboxCorruptError as exc:
        return shown | {"damaged": str(exc)}
    if row.gap is not None:
        shown |= {"gap": asdict(row.gap)}
    return shown | {"readings": list(_readings(row))}


def _readings(row: Row) -> Iterator[dict[str, Any]]:
    for batch in row.batches:
        for column in batch.columns:
            for position, index in enumerate(column.points):
                point = row.table.points[index]
                yield {"point": point.name, "unit": point.unit, **_reading(batch, column, position)}


def _reading(batch: ReadingBatch, column: Column, position: int) -> dict[str, Any]:
    status = 0 if column.statuses is None else column.statuses[position]
    value: Any = None if column.values is None or is_bad(status) else column.values[position]
    if value is not None and column.data_type is DataType.BOOL:
        value = bool(value)
    time_ns = batch.time_ns + (0 if column.offsets_ns is None else column.offsets_ns[position])
    lag_ns = 0 if column.lags_ns is None else column.lags_ns[position]
    server_time_ns = time_ns + lag_ns if lag_ns else None
    return {"value": value, "status": status, "time_ns": time_ns, "server_time_ns": server_time_ns}
