"""The outbox as it is meant, in as few lines as can be: lists and sets, no files, no tasks."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from edge_agent.model import PublisherId
from edge_agent.outbox.rows import Stream

MAX_SPANS = 256
LOWEST_FIRST = ("trend", "counter", "event", "alarm")


@dataclass(frozen=True)
class ModelRow:
    """A row: under which table and class, the number of each batch in it, and how many readings."""

    device: str
    names: tuple[str, ...]
    reading_class: str
    numbers: tuple[int, ...]
    readings: int

    @property
    def is_gap(self) -> bool:
        """Whether it tells of readings that are missing."""
        return not self.names

    @property
    def rank(self) -> int:
        """How late it gives way."""
        return len(LOWEST_FIRST) if self.is_gap else LOWEST_FIRST.index(self.reading_class)


@dataclass
class ModelCursor:
    """One session: rows up to ``boundary`` are replay; each row is leased once."""

    publisher: PublisherId
    boundary: int
    leased: set[int] = field(default_factory=set)


@dataclass
class OutboxModel:
    """What is in memory, what is on disk, and what a crash makes of it."""

    configured: tuple[PublisherId, ...] = ()
    rows: dict[int, ModelRow] = field(default_factory=dict)
    last_id: int = 0
    buffer: list[ModelRow] = field(default_factory=list)
    acknowledged: dict[PublisherId, set[int]] = field(default_factory=dict)
    durable: dict[PublisherId, set[int]] = field(default_factory=dict)
    learned: dict[str, str] = field(default_factory=dict)
    durable_learned: dict[str, str] = field(default_factory=dict)

    def append(self, row: ModelRow) -> None:
        """Join the readings to the buffered row of the same device, class and table, if that is the last."""
        for at, other in enumerate(self.buffer):
            is_last = not any(
                (r.device, r.reading_class) == (row.device, row.reading_class) for r in self.buffer[at + 1 :]
            )
            if replace(other, numbers=(), readings=0) == replace(row, numbers=(), readings=0) and is_last:
                numbers, readings = other.numbers + row.numbers, other.readings + row.readings
                self.buffer[at] = replace(other, numbers=numbers, readings=readings)
                return
        self.buffer.append(row)

    def commit(self, refused: Collection[ModelRow] = ()) -> None:
        """Everything in memory but ``refused`` reaches the disk; what all configured publishers have goes."""
        everybody = [self.acknowledged[publisher] for publisher in self.configured]
        for row_id in set.intersection(*everybody) if everybody else ():
            self.rows.pop(row_id, None)
        for row in self.buffer:
            if row not in refused:
                self.last_id += 1
                self.rows[self.last_id] = row
        self.buffer = []
        self.keep()

    def keep(self) -> None:
        """What is in memory is on disk."""
        self.durable = {publisher: set(ids) for publisher, ids in self.acknowledged.items()}
        self.durable_learned = dict(self.learned)

    def tell(self, device: str, publisher: str) -> None:
        """A gap record comes to the end of the log, for one publisher or for all."""
        self.last_id += 1
        self.rows[self.last_id] = ModelRow(device, (), "event", (), 0)
        for other in self.configured:
            if publisher not in {"*", other}:
                self.acknowledged[other].add(self.last_id)

    def is_owed(self, publisher: PublisherId, row_id: int) -> bool:
        """Whether a publisher has still to get a row."""
        return row_id not in self.acknowledged[publisher]

    def crash(self) -> None:
        """What did not reach the disk is gone."""
        self.buffer = []
        self.acknowledged = {publisher: set(ids) for publisher, ids in self.durable.items()}
        self.learned = dict(self.durable_learned)

    def configure(self, publishers: tuple[PublisherId, ...]) -> None:
        """Start with these publishers; what others have acknowledged is not forgotten."""
        self.configured = publishers
        for publisher in publishers:
            self.acknowledged.setdefault(publisher, set())

    def owed(self, cursor: ModelCursor, stream: Stream) -> list[int]:
        """Rows that a lease may hand out, in order."""
        is_live = stream is Stream.LIVE
        return [
            row_id
            for row_id in sorted(self.rows)
            if (row_id > cursor.boundary) == is_live
            and row_id not in cursor.leased
            and row_id not in self.acknowledged[cursor.publisher]
        ]

    def pending(self, publisher: PublisherId) -> int:
        """Rows that a publisher has not got through."""
        return len(self.rows.keys() - self.acknowledged[publisher])

    def pending_readings(self, publisher: PublisherId) -> int:
        """Readings that a publisher has not got through, as it is on disk."""
        durable = self.durable.get(publisher, set())
        return sum(row.readings for row_id, row in self.rows.items() if row_id not in durable)
