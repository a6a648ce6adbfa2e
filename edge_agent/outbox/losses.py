"""The ledger of losses, its gap records, and how complete each day is. On the thread of the file.

What is lost is noted in the transaction that loses it. Each entry becomes one gap record: at once for rows, which
give way by the hundred; after at most a minute for readings that are not even taken, so that a long overrun makes
few records.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.errors import OutboxCorruptError
from edge_agent.model import DeviceId, Lost, PointTable, PublisherId
from edge_agent.outbox.ranges import Ranges
from edge_agent.outbox.rows import Gap, Reason

EVERYBODY = PublisherId("*")

Owing = Callable[[int], Collection[PublisherId]]
"""Says of a row that is not here who has not got through it; ``EVERYBODY`` alone if that is so."""
"""Stands for every publisher that was configured."""

UNKNOWN = DeviceId("unknown")
"""Stands for the devices of rows of which nothing is left but the number."""

GAP_CODEC = 2
"""The body of a gap record: JSON."""

MAX_LOSSES = 100_000
MAX_GAPS_IN_COMMIT = 1000
MAX_DAYS = 400
MAX_NAMED_POINTS = 100
REPORT_INTERVAL_S = 60.0
_Counts = dict[tuple[str, DeviceId], tuple[int, int]]
_1970 = datetime(1970, 1, 1, tzinfo=UTC)

_MERGE = """
    UPDATE loss SET
        row_first = min(row_first, :row_first), row_last = max(row_last, :row_last),
        rows = rows + :rows, readings = readings + :readings,
        t_first = min(t_first, :t_first_ns), t_last = max(t_last, :t_last_ns), noted_ns = :noted_ns,
        points = :points
    WHERE id = :id
"""
_SAME = """
    SELECT id, points FROM loss
    WHERE is_reported = 0 AND device = :device AND class = :reading_class AND publisher = :publisher
        AND epoch = :epoch AND reason = :reason AND (row_first = 0) = (:row_first = 0)
"""
_INSERT = """
    INSERT INTO loss (device, class, publisher, epoch, row_first, row_last, rows, readings,
                      t_first, t_last, reason, noted_ns, points)
    VALUES (:device, :reading_class, :publisher, :epoch, :row_first, :row_last, :rows, :readings,
            :t_first_ns, :t_last_ns, :reason, :noted_ns, :points)
"""
_TO_REPORT = """
    SELECT id, device, publisher, class, rows, readings, t_first, t_last, reason, epoch, row_first, row_last,
        points
    FROM loss WHERE is_reported = 0 AND (:with_all OR row_first > 0) ORDER BY id LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """Readings of one device and class that one publisher, or everybody, never gets."""

    device: DeviceId
    publisher: PublisherId
    gap: Gap


class Losses:
    """Notes losses and hands out the gap records that are due.

    Args:
        sql: the connection of the file; each method runs in the caller's transaction.
    """

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._reported_s = -REPORT_INTERVAL_S
        self._has_new = True  # those that an earlier process noted

    def note(self, losses: Iterable[Loss], noted_ns: int) -> None:
        """Put ``losses`` into the ledger, joined to what is not reported yet of the same."""
        for loss in losses:
            values = asdict(loss.gap) | {"device": loss.device, "publisher": loss.publisher, "noted_ns": noted_ns}
            same = self._sql.execute(_SAME, values).fetchone()
            if same is None:
                self._sql.execute(_INSERT, values | {"points": _written(loss.gap.points)})
            else:
                points = _union(_names(same[1]), loss.gap.points)
                self._sql.execute(_MERGE, values | {"id": same[0], "points": _written(points)})
            self._has_new = True

    def due(self, now_s: float, *, with_all: bool = False) -> list[tuple[int, Loss]]:
        """Return entries for which gap records are to be written now, with their ids for ``reported``."""
        if not self._has_new:
            return []
        with_all = with_all or now_s - self._reported_s >= REPORT_INTERVAL_S
        about = {"with_all": with_all, "limit": MAX_GAPS_IN_COMMIT}
        found = self._sql.execute(_TO_REPORT, about).fetchall()
        if with_all and len(found) < MAX_GAPS_IN_COMMIT:
            self._has_new = False
            self._reported_s = now_s if found else self._reported_s
        return [(record[0], _loss(record[1:])) for record in found]

    def reported(self, numbers: Iterable[int]) -> None:
        """The gap records of these entries are in the log; let go of the oldest entries."""
        self._sql.executemany("UPDATE loss SET is_reported = 1 WHERE id = ?", [(number,) for number in numbers])
        self._sql.execute(
            "DELETE FROM loss WHERE is_reported = 1 AND id <= (SELECT max(id) FROM loss) - ?", (MAX_LOSSES,)
        )

    def fail(self) -> None:
        """The transaction was rolled back."""
        self._has_new = True


class Days:
    """Counts readings by UTC day of acquisition and device; on disk about once a minute."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._counts: _Counts = {}
        self._before: _Counts = {}
        self._written_s = 0.0

    def begin(self) -> None:
        """A transaction begins."""
        self._before = dict(self._counts)

    def count(self, counts: Iterable[tuple[int, DeviceId, int, int]]) -> None:
        """Add ``(time in ns, device, committed, lost)``."""
        for t_ns, device, committed, lost in counts:
            key = (day_of(t_ns), device)
            before = self._counts.get(key, (0, 0))
            self._counts[key] = before[0] + committed, before[1] + lost

    def is_due(self, now_s: float) -> bool:
        """Whether there is something, and a minute has passed."""
        return bool(self._counts) and now_s - self._written_s >= REPORT_INTERVAL_S

    def write(self, now_s: float) -> None:
        """Put what is counted into the file."""
        self._written_s = now_s
        self._sql.executemany(
            "INSERT INTO day VALUES (?, ?, ?, ?) ON CONFLICT (day, device) DO UPDATE"
            " SET committed = committed + excluded.committed, lost = lost + excluded.lost",
            [(day, device, *counts) for (day, device), counts in self._counts.items()],
        )
        self._sql.execute(
            "DELETE FROM day WHERE day < (SELECT min(day) FROM (SELECT DISTINCT day FROM day ORDER BY day DESC"
            " LIMIT ?))",
            (MAX_DAYS,),
        )
        self._counts = {}

    def settle(self) -> None:
        """The transaction is on disk."""
        self._before = {}

    def fail(self) -> None:
        """The transaction is not on disk."""
        self._counts = self._before


def day_of(t_ns: int) -> str:
    """Return the UTC day of a time, such as ``2026-11-23``; of one that no calendar holds, the nearest."""
    try:
        return (_1970 + timedelta(microseconds=t_ns // 1000)).date().isoformat()
    except OverflowError:
        return "9999-12-31" if t_ns > 0 else "0001-01-01"


def utc_time(t_ns: int) -> str:
    """Return ISO 8601 in UTC with nanoseconds, such as ``2026-11-23T08:00:00.000000000Z``."""
    seconds, rest_ns = divmod(t_ns, 1_000_000_000)
    return f"{(_1970 + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()}.{rest_ns:09}Z"


def encode_gap(gap: Gap) -> bytes:
    """Return the body of a gap record."""
    return json.dumps(asdict(gap), separators=(",", ":")).encode()


def decode_gap(body: bytes) -> Gap:
    """Give back what ``encode_gap`` got.

    Raises:
        OutboxCorruptError: it is not a gap record.
    """
    try:
        fields = json.loads(body)
        return Gap(**fields | {"reason": Reason(fields["reason"]), "points": tuple(fields.get("points", ()))})
    except (ValueError, KeyError, TypeError) as exc:
        raise OutboxCorruptError("a gap record cannot be read back") from exc


def _loss(record: Sequence[Any]) -> Loss:
    device, publisher, word, rows, readings, t_first, t_last, reason, epoch, first, last, points = record
    gap = Gap(word, rows, readings, t_first, t_last, Reason(reason), epoch, first, last, _names(points))
    return Loss(DeviceId(device), PublisherId(publisher), gap)


def lacking(kept: Ranges, acknowledged: Mapping[PublisherId, Ranges]) -> Owing:
    """Return what says whom a row is owed to, as things are now; without publishers, to the first one to come."""
    kept, acknowledged = Ranges(kept), {publisher: Ranges(has) for publisher, has in acknowledged.items()}

    def owing(row_id: int) -> Collection[PublisherId]:
        if row_id in kept:
            return ()
        those = [publisher for publisher, has in acknowledged.items() if row_id not in has]
        return those if len(those) < len(acknowledged) else (EVERYBODY,)

    return owing


def in_groups(losses: Iterable[Loss]) -> Iterator[Loss]:
    """Join losses of the same device, class, publisher, epoch and reason."""
    groups: dict[tuple[object, ...], Loss] = {}
    for loss in losses:
        gap = loss.gap
        key = (loss.device, loss.publisher, gap.reading_class, gap.reason, gap.epoch, gap.row_first == 0)
        before = groups.get(key)
        groups[key] = loss if before is None else Loss(loss.device, loss.publisher, _joined(before.gap, gap))
    yield from groups.values()


def _joined(one: Gap, other: Gap) -> Gap:
    return Gap(
        one.reading_class,
        one.rows + other.rows,
        one.readings + other.readings,
        min(one.t_first_ns, other.t_first_ns),
        max(one.t_last_ns, other.t_last_ns),
        one.reason,
        one.epoch,
        min(one.row_first, other.row_first),
        max(one.row_last, other.row_last),
        _union(one.points, other.points),
    )


def _union(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    """Join names of points; none, which stands for any, if there are none on one side, or too many."""
    names = tuple(dict.fromkeys((*one, *other))) if one and other else ()
    return names if len(names) <= MAX_NAMED_POINTS else ()


def _written(points: Sequence[str]) -> str:
    return json.dumps(points, ensure_ascii=False) if points else ""


def _names(written: str) -> tuple[str, ...]:
    return tuple(json.loads(written)) if written else ()


def at_device(table: PointTable, lost: Lost, epoch: str) -> Iterator[Loss]:
    """Yield what a device lost, by class.

    The readings are shared out so that their sum stays: at most one for each point, the rest to the last class.
    """
    names: dict[str, list[str]] = {}
    for index in lost.points:
        point = table.points[index]
        names.setdefault(point.reading_class.value, []).append(point.name)
    left = lost.readings
    for number, (word, points) in enumerate(names.items(), start=1):
        readings = left if number == len(names) else min(left, len(points))
        left -= readings
        reason, times = Reason(lost.reason.value), (lost.t_first_ns, lost.t_last_ns)
        gap = Gap(word, 0, readings, *times, reason, epoch, 0, 0, _union(points, points))
        yield Loss(table.device, EVERYBODY, gap)
