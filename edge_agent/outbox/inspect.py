"""Looks into an outbox from outside, beside a running agent: reads only, each query a transaction of its own."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_agent.errors import OutboxCorruptError, OutboxError
from edge_agent.model import Column, DataType, DeviceId, PublisherId, ReadingBatch, is_bad
from edge_agent.outbox.faults import translated
from edge_agent.outbox.ledger import Ledger
from edge_agent.outbox.migrations import schema_version
from edge_agent.outbox.ranges import Ranges
from edge_agent.outbox.rows import Row
from edge_agent.outbox.sqlite import COLUMNS, KEPT_SQL, decode_row, parse_table

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
        OutboxError: there is no outbox at ``path``, or it cannot be read.
    """
    with _reader(path) as database:
        records = database.execute(_SHOW_SQL, {"device": device, "limit": limit}).fetchall()
    return [_row(record[:-1], record[-1] or "") for record in reversed(records)]


@contextmanager
def _reader(path: Path) -> Iterator[Any]:
    # Imported only by who looks into the file: 26 MB.
    from sqlite_utils import Database  # noqa: PLC0415

    if not path.is_file():
        raise OutboxError(f"there is no outbox at {path}")
    with translated(path):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            if schema_version(connection, path) == 0:
                raise OutboxError(f"{path} is empty: no agent has used it yet")
            yield Database(connection, recursive_triggers=False, execute_plugins=False)
        finally:
            connection.close()


def _publishers(database: Any, kept: Ranges, newest: int) -> list[dict[str, Any]]:
    publishers = list(database.query("SELECT id, configured FROM publisher ORDER BY id"))
    acknowledged = {PublisherId(publisher["id"]): Ranges() for publisher in publishers}
    for row in database.query("SELECT publisher, first, last FROM acknowledged"):
        acknowledged[row["publisher"]].add(row["first"], row["last"])
    ledger = Ledger(kept, newest, acknowledged)
    return [
        {
            "id": publisher["id"],
            "configured": bool(publisher["configured"]),
            "pending_rows": ledger.pending(publisher["id"]),
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
    offset_ns = 0 if column.offsets_ns is None else column.offsets_ns[position]
    return {"value": value, "status": status, "time_ns": batch.time_ns + offset_ns}
