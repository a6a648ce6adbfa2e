"""Scenario ``outbox``: what the outbox does per second with SQLite at FULL, in a process of its own.

``python -m tests.bench.outbox [DIRECTORY]`` prints it; the directory decides which disk is measured.
"""

import asyncio
import math
import resource
import shutil
import subprocess
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
DEVICES, POINTS, SCANS, ROUNDS = 10, 100, 10, 300
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


HEADER = [
    "scenario", "committed/s", "µs CPU/reading", "drained/s", "µs CPU/reading", "bytes written/reading",
    "bytes kept/reading", "deleting it all", "RSS MiB",
]  # fmt: skip


def run() -> list[str]:
    """Return the cells of the table."""
    command = [sys.executable, "-m", "tests.bench.outbox"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return ["outbox", *(line.rsplit("  ", 1)[1].strip() for line in printed.splitlines())]


async def measure(directory: Path) -> list[str]:
    """Return the cells, less the first one."""
    options = OutboxOptions(directory, commit_bytes=4 * 1024 * 1024)
    outbox = await Outbox.open(options, [CLOUD], clock=SystemClock(), metrics=Metrics())
    scans, tables = _scans(), _tables()
    before, cpu, start = _written_bytes(), time.process_time(), time.perf_counter()
    await _commit(outbox, scans, tables)
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    written = _written_bytes() - before
    kept = sum(path.stat().st_size for path in (directory / "outbox.db", directory / "outbox.db-wal"))
    cells = [f"{READINGS / took:,.0f}", f"{cpu / READINGS * 1e6:.2f}"]
    cpu, start = time.process_time(), time.perf_counter()
    count = await _drain(outbox)
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert count == READINGS, f"{READINGS - count} readings are missing"
    cells += [f"{count / took:,.0f}", f"{cpu / count * 1e6:.2f}"]
    cells += [f"{written / READINGS:.1f}", f"{kept / READINGS:.1f}"]
    start = time.perf_counter()
    await outbox.flush()
    cells.append(f"{time.perf_counter() - start:.3f} s")
    await outbox.close()
    return [*cells, f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}"]


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else "/var/tmp"))  # noqa: S108 - a real disk
    try:
        for name, cell in zip(HEADER[1:], asyncio.run(measure(place)), strict=True):
            print(f"{name:<30}  {cell}")
    finally:
        shutil.rmtree(place)
