"""What the outbox hands out: rows, each the readings of one device and class in one commit."""

from dataclasses import dataclass
from enum import Enum, StrEnum

from edge_agent.model import LossReason, PointTable, ReadingBatch, ReadingClass


class Stream(Enum):
    """Which part of the log a lease is taken from.

    LIVE begins behind the last row that was committed when the publisher's session began;
    REPLAY is everything before that which the publisher has not acknowledged.
    """

    LIVE = "live"
    REPLAY = "replay"


class Reason(StrEnum):
    """Why readings were lost."""

    FULL = "full"
    """They gave way at the bound in bytes."""
    AGE = "age"
    """They were kept for as long as the configuration says."""
    NEWEST = "newest"
    """They were not taken: the log was full and keeps what is older."""
    MEMORY = "memory"
    """They gave way in memory while the disk took no writes."""
    DAMAGED = "damaged"
    """They could not be read back."""
    REFUSED = "refused"
    """A broker refused them for what they are, and there was no more room to keep them aside."""
    OVERFLOW = LossReason.OVERFLOW.value
    MISSED = LossReason.MISSED.value
    OUTAGE = LossReason.OUTAGE.value


@dataclass(frozen=True, slots=True)
class Gap:
    """Says that readings are missing, for which a row of its own is delivered.

    Attributes:
        reading_class: of the readings that are missing; empty if nobody can say.
        readings: for what a device lost, so many at the least, 0 if nobody can say.
        rows: how many rows, 0 if they were lost before they got one.
        t_first_ns: acquisition of the first reading that is missing.
        t_last_ns: acquisition of the last one.
        epoch: of the rows that are missing.
        row_first: 0 if the readings were lost before they got a row.
        row_last: rows of other devices and classes between the two are not missing.
        points: names of those that are concerned; empty: any of the device and class.
    """

    reading_class: str
    rows: int
    readings: int
    t_first_ns: int
    t_last_ns: int
    reason: Reason
    epoch: str
    row_first: int
    row_last: int
    points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the log, decoded.

    Attributes:
        epoch: random name of the database that the row was first written to.
        id: position in the log; with the epoch it names the row for ever.
        table: the point table under which it was collected, not the present one.
        batches: in acquisition order; at least one reading altogether, but for a gap record.
        historical: handed out from the REPLAY stream, or fetched after an outage.
        body_bytes: size on disk.
        gap: this row is a gap record: no batches, an empty table.
        anchor: number of the anchor that its times were reckoned from, None if that was right.
    """

    epoch: str
    id: int
    table: PointTable
    reading_class: ReadingClass
    count: int
    t_first_ns: int
    t_last_ns: int
    batches: tuple[ReadingBatch, ...]
    historical: bool
    body_bytes: int
    gap: Gap | None = None
    anchor: int | None = None
