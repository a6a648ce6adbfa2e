"""Which rows are in the file, found without looking at each of them. On the thread of the file.

A row goes when every configured publisher has got through it, or when it is given up, which ``gone`` notes. So
what one of them lacks is there, and only what all of them have must be looked up; the next commits let go of that.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from functools import reduce

from edge_agent.errors import OutboxCorruptError
from edge_agent.model import PublisherId
from edge_agent.outbox.ranges import Ranges, Span

KEPT_SQL = """
    SELECT min(id), max(id)
    FROM (SELECT id, id - row_number() OVER (ORDER BY id) AS run FROM row INDEXED BY row_by_table)
    GROUP BY run ORDER BY 1
"""
"""All ids in the log as ranges: in a run of ids each has the same distance to its number in the order."""

_LOOKED_UP_ROWS = 20_000
_FOUND = "SELECT id FROM row WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
_ENDS = "SELECT (SELECT min(id) FROM row), (SELECT max(id) FROM row)"


def load_kept(
    sql: sqlite3.Connection, acknowledged: Mapping[PublisherId, Ranges], last_id: int, first_id: int
) -> Ranges:
    """Return the ids in the log.

    Args:
        sql: the connection of the file.
        acknowledged: of each configured publisher; nobody else was configured when rows were let go.
        last_id: the highest that was ever given.
        first_id: where the ids of this file begin; rows before it were saved from damaged ones.

    Raises:
        OutboxCorruptError: there are some that were never given.
    """
    first, last = sql.execute(_ENDS).fetchone()
    if first is None:
        return Ranges()
    if not 0 < first <= last <= last_id:
        raise OutboxCorruptError(f"the log names rows beyond its end, {last_id}")
    kept = Ranges([(first, last)])
    if not acknowledged or first < first_id:
        return scan_kept(sql, last_id)
    doubtful = reduce(Ranges.common, acknowledged.values())
    doubtful = Ranges(doubtful)  # a copy: of one publisher, it is that publisher's
    for a, b in sql.execute("SELECT first, last FROM gone"):
        if 0 < a <= b:
            doubtful.add(a, b)
    left = _LOOKED_UP_ROWS
    for a, b in list(doubtful.within(first, last)):
        kept.discard(a, b)
        for (row_id,) in sql.execute(_FOUND, (a, b, left + 1)).fetchall():
            kept.add(row_id)
            left -= 1
        if left < 0:
            return scan_kept(sql, last_id)
    return kept


def scan_kept(sql: sqlite3.Connection, last_id: int) -> Ranges:
    """Return the ids in the log by looking at each: a second for a million rows.

    Raises:
        OutboxCorruptError: there are some that were never given.
    """
    spans = sql.execute(KEPT_SQL).fetchall()
    if any(not 0 < first <= last <= last_id for first, last in spans):
        raise OutboxCorruptError(f"the log names rows beyond its end, {last_id}")
    return Ranges(spans)


def note_gone(sql: sqlite3.Connection, spans: Iterable[Span]) -> None:
    """Rows were given up in this transaction."""
    spans = list(spans)
    if spans:
        sql.executemany("INSERT OR REPLACE INTO gone VALUES (?, ?)", spans)
        sql.execute("DELETE FROM gone WHERE last < (SELECT min(id) FROM row)")


def note_holes(sql: sqlite3.Connection, kept: Ranges, last_id: int, first_id: int) -> None:
    """Whoever is configured now was not when rows were let go: what is not there is noted as gone."""
    sql.execute("DELETE FROM gone")
    sql.execute("DELETE FROM meta WHERE key = 'kept'")
    first = kept.spans()[0][0] if kept else first_id
    if max(first, first_id) <= last_id:
        sql.executemany("INSERT INTO gone VALUES (?, ?)", kept.gaps(max(first, first_id), last_id))


def note_unknown(sql: sqlite3.Connection) -> None:
    """A row came back from elsewhere: the next start looks at each."""
    sql.execute("INSERT OR REPLACE INTO meta VALUES ('kept', 'unknown')")


def has_unknown(sql: sqlite3.Connection) -> bool:
    """Return whether the next start must look at each row."""
    return sql.execute("SELECT 1 FROM meta WHERE key = 'kept'").fetchone() is not None
