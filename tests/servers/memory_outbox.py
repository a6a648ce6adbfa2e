"""An outbox in memory that keeps the contract of the real one, and rows to put into it."""

import asyncio
from array import array
from collections.abc import Iterable, Sequence

from edge_agent.model import (
    Column,
    DataType,
    DeviceId,
    Point,
    PointName,
    PointTable,
    PublisherId,
    ReadingBatch,
    ReadingClass,
)
from edge_agent.outbox.rows import Row, Stream

T0_NS = 1_790_000_000_000_000_000


def make_row(
    number: int,
    device: str = "press-01",
    values: Sequence[float] = (1.5,),
    *,
    t_ns: int = T0_NS,
    epoch: str = "e1",
) -> Row:
    """Return a row with one batch: the points p0, p1 … have the given values."""
    id_ = DeviceId(device)
    table = PointTable(id_, tuple(Point(PointName(f"p{k}")) for k in range(len(values))))
    column = Column(DataType.FLOAT64, array("H", range(len(values))), array("d", values))
    batches = (ReadingBatch(id_, t_ns, (column,)),)
    count = len(values)
    return Row(
        epoch, number, table, ReadingClass.TREND, count, t_ns, t_ns, batches, historical=False, body_bytes=16
    )


class MemoryOutbox:
    """Rows in a list; ``confirmed`` is what a publisher has got through."""

    epoch = "e1"

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows = list(rows)
        self.confirmed: dict[PublisherId, list[int]] = {}
        self.begun = 0
        self.aside: list[tuple[int, str]] = []
        self._changed = asyncio.Event()

    def append(self, *rows: Row) -> None:
        """Commit rows."""
        self.rows += rows
        self._changed.set()

    def add(self, first: int, count: int, device: str = "press-01", values: Sequence[float] = (1.5,)) -> None:
        """Commit ``count`` rows of one device, numbered from ``first``."""
        self.append(*(make_row(number, device, values) for number in range(first, first + count)))

    def begin(self, publisher: PublisherId) -> "MemoryCursor":
        self.begun += 1
        return MemoryCursor(self, self.confirmed.setdefault(publisher, []))


class MemoryCursor:
    """One publisher's session."""

    def __init__(self, outbox: MemoryOutbox, confirmed: list[int]) -> None:
        self._outbox = outbox
        self._confirmed = confirmed
        self._leased = set(confirmed)
        self._live_from = max((row.id for row in outbox.rows), default=0) + 1
        self._is_open = True

    async def lease(self, stream: Stream, *, max_rows: int, max_bytes: int) -> list[Row]:
        assert max_bytes > 0
        await asyncio.sleep(0)
        is_replay = stream is Stream.REPLAY
        found = [
            row
            for row in self._outbox.rows
            if row.id not in self._leased and (row.id < self._live_from) is is_replay
        ][:max_rows]
        self._leased.update(row.id for row in found)
        return [_as_historical(row) for row in found] if is_replay else found

    @property
    def replay_readings(self) -> int:
        return sum(
            row.count for row in self._outbox.rows if row.id < self._live_from and row.id not in self._confirmed
        )

    async def wait(self, streams: Iterable[Stream]) -> None:
        is_live = {stream is Stream.LIVE for stream in streams}
        while all(row.id in self._leased for row in self._outbox.rows if (row.id >= self._live_from) in is_live):
            self._outbox._changed.clear()
            await self._outbox._changed.wait()

    def confirm(self, row_ids: Iterable[int]) -> None:
        assert self._is_open, "confirmed after the session was over"
        self._confirmed += row_ids

    def set_aside(self, row_ids: Iterable[int], reason: str) -> None:
        assert self._is_open, "set aside after the session was over"
        self._outbox.aside += [(row_id, reason) for row_id in row_ids]
        self._confirmed += row_ids

    def close(self) -> None:
        self._is_open = False


def _as_historical(row: Row) -> Row:
    return Row(
        row.epoch, row.id, row.table, row.reading_class, row.count, row.t_first_ns, row.t_last_ns, row.batches,
        historical=True, body_bytes=row.body_bytes,
    )  # fmt: skip
