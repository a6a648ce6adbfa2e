"""What the outbox hands out: rows, each the readings of one device and class in one commit."""

from dataclasses import dataclass
from enum import Enum

from edge_agent.model import PointTable, ReadingBatch, ReadingClass


class Stream(Enum):
    """Which part of the log a lease is taken from.

    LIVE begins behind the last row that was committed when the publisher's session began;
    REPLAY is everything before that which the publisher has not acknowledged.
    """

    LIVE = "live"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the log, decoded.

    Attributes:
        epoch: random name of the database that the row was first written to.
        id: position in the log; with the epoch it names the row for ever.
        table: the point table under which it was collected, not the present one.
        batches: in acquisition order; at least one reading altogether.
        historical: handed out from the REPLAY stream.
        body_bytes: size on disk.
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
