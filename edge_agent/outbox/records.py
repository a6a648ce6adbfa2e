"""A row as the file holds it, as a value, and what a commit or a lease gives back."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.clock import Anchor
from edge_agent.errors import OutboxCorruptError
from edge_agent.model import DeviceId, PointTable, PublisherId, ReadingClass
from edge_agent.outbox import codec
from edge_agent.outbox.accounts import Books
from edge_agent.outbox.losses import GAP_CODEC, decode_gap
from edge_agent.outbox.ranges import Ranges
from edge_agent.outbox.retention import Dropped
from edge_agent.outbox.rows import Row

COLUMNS = "epoch, id, row.device, class, table_version, n, t_first, t_last, codec, crc, anchor, body"
"""What ``decode_row`` takes."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was in the file when it was opened."""

    kept: Ranges
    last_id: int
    acknowledged: dict[PublisherId, Ranges]
    learned: list[tuple[DeviceId, str, str]]
    anchors: list[tuple[int, Anchor]]
    has_moved: bool


@dataclass(frozen=True, slots=True)
class Written:
    """A commit that is on disk."""

    rows: list[Row]
    """New ones in id order; those of readings come first, then gap records."""
    sizes_bytes: list[int]
    """What the readings of each row take in memory."""
    pre_acknowledged: list[tuple[PublisherId, int]]
    dropped: Dropped
    books: Books
    is_blocked: bool
    """The log is full and gives nothing up: the rows were not taken."""
    size_bytes: int
    used_bytes: int
    written_bytes: int
    """To the disk, everything included."""
    oldest_ns: Mapping[PublisherId, int]
    """When the first reading was taken of the oldest row that was pending before; nothing pending: not there."""


@dataclass(slots=True)
class Read:
    """What a lease asks for and gets: rows in id order.

    Attributes:
        rows_left: how many more may be read; a damaged one counts.
        bytes_left: how many more bytes of bodies; the first row is read however large it is.
        historical: the mark that rows get.
        damaged: ids that could not be read back.
        out_of_reach: rows that the tree does not lead to any more, though they may be there: the file has to be
            salvaged, unless they gave way meanwhile.
        last_id: everything asked for up to here is in ``rows``, ``damaged`` or ``out_of_reach``.
    """

    rows_left: int
    bytes_left: int
    historical: bool
    rows: list[Row] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    last_id: int = 0
    out_of_reach: Ranges = field(default_factory=Ranges)

    def lose(self, first: int, last: int) -> None:
        """The tree does not lead to these rows any more."""
        if first <= last:
            self.out_of_reach.add(first, last)


@dataclass(frozen=True, slots=True)
class SavedRow:
    """A row of a file that was damaged, on its way back; its columns as they were."""

    table: PointTable
    anchor: Anchor | None
    epoch: str
    id: int
    device: str
    word: str
    count: int
    t_first_ns: int
    t_last_ns: int
    codec: int
    crc: int
    body: bytes
    kind: int


def parse_table(content: str) -> PointTable:
    """Return a stored point table.

    Raises:
        OutboxCorruptError: it is not one.
    """
    try:
        return PointTable.from_json(content)
    except (ValueError, KeyError, TypeError) as exc:
        raise OutboxCorruptError("the point table of a row cannot be read back") from exc


def seal(epoch: str, row_id: int, body: bytes) -> int:
    """Return the checksum of a row, which holds for its identity, too; in schema 1 it holds for the body only."""
    return zlib.crc32(f"{epoch}/{row_id}".encode(), codec.checksum(body))


def decode_row(record: Sequence[Any], table: PointTable, *, historical: bool) -> Row:
    """Return a row of the database as a value; ``record`` has the columns of the table in their order.

    Raises:
        OutboxCorruptError: it is not as it was written.
    """
    try:
        return _decode_row(record, table, historical=historical)
    except (TypeError, ValueError, OverflowError) as exc:  # a value of another kind than the column's
        raise OutboxCorruptError(f"row {record[1]} cannot be read back: {exc}") from exc


def _decode_row(record: Sequence[Any], table: PointTable, *, historical: bool) -> Row:
    epoch, row_id, device, word, _, count, t_first, t_last, number, crc, anchor, body = record
    if crc == seal(epoch, row_id, body):
        crc = codec.checksum(body)
    if number not in {codec.CODEC, codec.HISTORICAL_CODEC, GAP_CODEC} or device != table.device:
        raise OutboxCorruptError(f"row {row_id} has an unknown codec or another device's point table")
    if number == GAP_CODEC:
        if codec.checksum(body) != crc:
            raise OutboxCorruptError("the checksum of the row is wrong")
        about = (epoch, row_id, table, ReadingClass.EVENT, 0, t_first, t_last, ())
        return Row(*about, historical=historical, body_bytes=len(body), gap=decode_gap(body))
    batches = codec.decode(body, crc, table.device, len(table.points))
    try:
        reading_class = ReadingClass(word)
    except ValueError as exc:
        raise OutboxCorruptError(f"row {row_id} has no known class") from exc
    if sum(map(len, batches)) != count:
        raise OutboxCorruptError(f"row {row_id} does not hold the {count} readings that it names")
    return Row(
        epoch,
        row_id,
        table,
        reading_class,
        count,
        t_first,
        t_last,
        batches,
        historical or number == codec.HISTORICAL_CODEC,
        body_bytes=len(body),
        anchor=anchor,
    )
