"""A power cut at any moment, on a disk that forgets or spoils what was not synced: nothing committed is lost."""

import asyncio
import random
import shutil
import sqlite3
from array import array
from pathlib import Path

import pytest

from edge_agent.errors import OutboxCorruptError
from edge_agent.metrics import Metrics
from edge_agent.model import Column, DataType, PointTable, ReadingBatch
from edge_agent.outbox.rows import Row, Stream
from edge_agent.outbox.store import Outbox
from tests.fault.powerloss import Image, Recorder, images, recorded
from tests.model.outbox_kit import CLOUD, PLANT, T0_NS, batch, drain, numbers, opened, table

TABLES = [table("press-01"), table("cnc-07", "a", "b", "c"), table("meter-3")]
ROUNDS = 30


def noisy(of: PointTable, number: int, size: int) -> ReadingBatch:
    """Return a batch that does not compress: ``size`` bytes that follow from its number."""
    column = Column(DataType.BYTES, array("H", [0]), [random.Random(number).randbytes(size)])
    return ReadingBatch(of.device, T0_NS + number, (column,))


async def on_file(outbox: Outbox, statement: str) -> list[tuple[object, ...]]:
    file = outbox._keeper.file
    assert file is not None

    def execute() -> list[tuple[object, ...]]:
        return file._sql.execute(statement).fetchall()

    return await asyncio.get_running_loop().run_in_executor(outbox._thread, execute)


async def live(directory: Path, recorder: Recorder, dice: random.Random, number: int, synchronous: str) -> int:
    """Open the outbox, write, deliver to one publisher, checkpoint often, close; return the last number."""
    async with opened(directory, CLOUD, PLANT) as outbox:
        await on_file(outbox, f"PRAGMA synchronous = {synchronous}")
        await on_file(outbox, f"PRAGMA wal_autocheckpoint = {dice.choice((4, 20, 100))}")
        cloud, plant = outbox.begin(CLOUD), outbox.begin(PLANT)
        for _ in range(ROUNDS):
            for _ in range(dice.randrange(1, 6)):
                number += 1
                recorder.mark(f"appended {number}")
                of = dice.choice(TABLES)
                size = dice.choice((0, 0, 300, 9000))
                await outbox.append(of, noisy(of, number, size) if size else batch(of, number))
            await outbox.flush()
            recorder.mark(f"flushed {number}")
            await asyncio.to_thread(note_others, recorder, directory)
            for cursor in (cloud, plant) if dice.random() < 0.4 else (cloud,):
                rows: list[Row] = []
                for stream in Stream:
                    rows += await cursor.lease(stream, max_rows=dice.randrange(1, 8), max_bytes=10**6)
                if cursor is cloud:
                    recorder.mark("sent " + " ".join(map(str, numbers(rows))))
                cursor.confirm(row.id for row in rows)
    return number


def note_others(recorder: Recorder, directory: Path) -> None:
    """Put into the trace what the outbox keeps beside SQLite's files: never synced, it may still be there."""
    for path in directory.glob("*.mark"):
        recorder.mark(f"file {path.name} {path.read_bytes().hex()}")


def record(folder: Path, seed: int, synchronous: str = "FULL") -> Path:
    """Record two lives of an outbox; return the trace."""
    folder.mkdir()
    dice, number = random.Random(seed), 0
    with recorded(folder / "trace") as recorder:
        for _ in range(2):
            number = asyncio.run(live(folder / "state", recorder, dice, number, synchronous))
    return folder / "trace"


async def check(image: Image, directory: Path) -> None:
    """Start on the image: the file is whole, what was committed and not sent comes, nothing else does."""
    last, flushed, sent = 0, 0, set[int]()
    image.write(directory)
    for mark in image.marks:
        word, *rest = mark.split()
        if word == "appended":
            last = int(rest[0])
        elif word == "flushed":
            flushed = int(rest[0])
        elif word == "file":
            (directory / rest[0]).write_bytes(bytes.fromhex(rest[1]))
        else:
            sent.update(map(int, rest))
    metrics = Metrics()
    async with opened(directory, CLOUD, PLANT, metrics=metrics) as outbox:
        assert await on_file(outbox, "PRAGMA integrity_check") == [("ok",)]
        seen = numbers(await drain(outbox.begin(CLOUD), confirm=False))
        assert outbox.summary()["damaged_rows"] == 0
    assert not (directory / "damaged").exists(), "the file was set aside"
    assert set(range(1, flushed + 1)) <= set(seen) | sent, f"image {image.number}: committed readings are lost"
    assert set(seen) <= set(range(1, last + 1)), f"image {image.number}: readings that nobody appended"
    assert len(set(seen)) == len(seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "traces"),
    [
        (200, 4),
        pytest.param(2000, 20, marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
        pytest.param(50_000, 100, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
    ],
)
def test_a_power_cut_loses_nothing_that_was_committed(memory: Path, count: int, traces: int) -> None:
    cuts = 0
    for seed in range(traces):
        folder = memory / str(seed)
        for image in images(record(folder, seed), count // traces, seed):
            asyncio.run(check(image, folder / "image"))
            shutil.rmtree(folder / "image")
            cuts += 1
        shutil.rmtree(folder)
    print(f"{cuts} power cuts: 0 corrupt, 0 committed readings lost")
    assert cuts == count


@pytest.mark.slow
@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_same_cuts_show_what_weaker_settings_would_lose(memory: Path, synchronous: str) -> None:
    failed = 0
    for image in images(record(memory / "0", 0, synchronous), 60, 0):
        try:
            asyncio.run(check(image, memory / "image"))
        except (AssertionError, OutboxCorruptError, sqlite3.DatabaseError):
            failed += 1
        shutil.rmtree(memory / "image")
    print(f"synchronous={synchronous}: {failed} of 60 power cuts cost something")
    assert failed
