"""Small batches and open outboxes for the tests of the outbox."""

from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.metrics import Metrics
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
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.rows import Row, Stream
from edge_agent.outbox.store import Cursor, Outbox

CLOUD, PLANT = PublisherId("cloud"), PublisherId("plant")
T0_NS = 1_790_000_000_000_000_000


def table(device: str = "press-01", *names: str, **classes: ReadingClass) -> PointTable:
    """Return a table of trend points ``names`` and of points with a class of their own."""
    points = [Point(PointName(name)) for name in names or (() if classes else ("a", "b"))]
    points += [Point(PointName(name), reading_class=word) for name, word in classes.items()]
    return PointTable(DeviceId(device), tuple(points))


def batch(of: PointTable, number: int, points: Sequence[int] = (0,)) -> ReadingBatch:
    """Return a batch whose time and values are ``number``."""
    column = Column(DataType.INT64, array("H", points), array("q", [number] * len(points)))
    return ReadingBatch(of.device, T0_NS + number, (column,))


def options(directory: Path, **changes: Any) -> OutboxOptions:
    return OutboxOptions(directory, **changes)


@asynccontextmanager
async def opened(
    directory: Path,
    *publishers: PublisherId,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
    machine: str = "m",
    starts_now: Sequence[PublisherId] = (),
    **changes: Any,
) -> AsyncIterator[Outbox]:
    outbox = await Outbox.open(
        options(directory, **changes),
        publishers,
        clock=clock or SystemClock(),
        metrics=metrics or Metrics(),
        machine=machine,
        starts_now=starts_now,
    )
    try:
        yield outbox
    finally:
        await outbox.close()


async def fill(outbox: Outbox, of: PointTable, *numbers: int) -> None:
    """Commit one row for each number."""
    for number in numbers:
        await outbox.append(of, batch(of, number))
        await outbox.flush()


async def drain(cursor: Cursor, stream: Stream = Stream.REPLAY, *, confirm: bool = True) -> list[Row]:
    """Lease everything that the stream has, and confirm it."""
    drained: list[Row] = []
    while rows := await cursor.lease(stream, max_rows=7, max_bytes=100_000):
        drained += rows
        if confirm:
            cursor.confirm(row.id for row in rows)
    return drained


def account(outbox: Outbox, publisher: PublisherId) -> dict[str, int]:
    """Return the numbers of a publisher, which always add up."""
    accounts = outbox.summary()["accounts"]
    assert isinstance(accounts, dict)
    numbers: dict[str, int] = accounts[publisher]
    assert numbers["committed"] == numbers["confirmed"] + numbers["dropped"] + numbers["pending"]
    assert min(numbers.values()) >= 0
    return numbers


def numbers(rows: Sequence[Row]) -> list[int]:
    """Return what ``batch`` was called with."""
    return [one.time_ns - T0_NS for row in rows for one in row.batches]


def named(rows: Sequence[Row]) -> list[tuple[str, object]]:
    """Return ``(point name, value)`` of each reading."""
    return [
        (row.table.names[index], value)
        for row in rows
        for one in row.batches
        for column in one.columns
        for index, value in zip(column.points, column.values or (), strict=True)
    ]
