"""Print what the outbox does per second, on this machine, with SQLite at FULL.

``python tests/bench/outbox.py [DIRECTORY]``; the directory decides which disk is measured.
"""

import asyncio
import math
import os
import resource
import shutil
import sys
import tempfile
import time
from array import array
from pathlib import Path

from edge_agent.clock import SystemClock
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
)
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.rows import Stream
from edge_agent.outbox.store import Outbox

CLOUD = PublisherId("cloud")
DEVICES, POINTS, SCANS, ROUNDS = 10, 100, 10, 100
READINGS = DEVICES * POINTS * SCANS * ROUNDS


def _tables() -> list[PointTable]:
    points = tuple(Point(PointName(f"p{i}")) for i in range(POINTS))
    return [PointTable(DeviceId(f"d{i}"), points) for i in range(DEVICES)]


def _scans() -> list[list[Column]]:
    """Make the columns of every scan beforehand: the outbox is measured, not this."""
    indexes = array("H", range(POINTS))
    return [
        [
            Column(DataType.FLOAT32, indexes, array("f", [20 + 5 * math.sin(i + scan / 9) for i in range(POINTS)]))
            for scan in range(start, start + SCANS)
        ]
        for start in range(0, ROUNDS * SCANS, SCANS)
    ]


async def _commit(outbox: Outbox, scans: list[list[Column]], tables: list[PointTable]) -> None:
    time_ns = 1_790_000_000_000_000_000
    for columns in scans:
        for column in columns:
            time_ns += 100_000_000
            for table in tables:
                await outbox.append(table, ReadingBatch(table.device, time_ns, (column,)))
        await outbox.flush()


async def _drain(outbox: Outbox) -> int:
    cursor, count = outbox.begin(CLOUD), 0
    while rows := await cursor.lease(Stream.REPLAY, max_rows=64, max_bytes=256 * 1024):
        cursor.confirm([row.id for row in rows])
        count += sum(row.count for row in rows)
    cursor.close()
    return count


def _written_bytes() -> int:
    fields = Path("/proc/self/io").read_text("ascii").split()
    return int(fields[fields.index("write_bytes:") + 1])


async def main(directory: Path) -> None:
    options = OutboxOptions(directory, commit_bytes=4 * 1024 * 1024)
    outbox = await Outbox.open(options, [CLOUD], clock=SystemClock(), metrics=Metrics())
    rows: list[tuple[str, str]] = []
    scans, tables = _scans(), _tables()
    before, cpu, start = _written_bytes(), time.process_time(), time.perf_counter()
    await _commit(outbox, scans, tables)
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    written = _written_bytes() - before
    body = (directory / "outbox.db").stat().st_size + (directory / "outbox.db-wal").stat().st_size
    rows += [
        ("committed, readings/s", f"{READINGS / took:,.0f}"),
        ("CPU to commit, µs/reading", f"{cpu / READINGS * 1e6:.2f}"),
        ("written to the disk, bytes/reading", f"{written / READINGS:.1f}"),
        ("kept on the disk (with its log), bytes/reading", f"{body / READINGS:.1f}"),
    ]
    cpu, start = time.process_time(), time.perf_counter()
    count = await _drain(outbox)
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    rows += [
        ("leased, decoded, confirmed, readings/s", f"{count / took:,.0f}"),
        ("CPU to drain, µs/reading", f"{cpu / count * 1e6:.2f}"),
    ]
    start = time.perf_counter()
    await outbox.flush()
    rows.append(("deleting it all, s", f"{time.perf_counter() - start:.3f}"))
    await outbox.close()
    rows.append(("RSS at most, MB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}"))
    rows.append(("load of the machine, cores", f"{os.getloadavg()[0]:.1f}, {os.cpu_count()}"))
    for name, value in rows:
        print(f"{name:<50}{value:>14}")


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        asyncio.run(main(place))
    finally:
        shutil.rmtree(place)
