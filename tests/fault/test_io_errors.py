"""Every single write, sync, truncation and opening fails in turn: what was reported committed is there, always."""

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from edge_agent.errors import OutboxError, OutboxIOError
from edge_agent.outbox.rows import Stream
from edge_agent.outbox.store import Outbox
from tests.fault.powerloss import FULL, IO_ERROR, READ_ONLY, Operation, Recorder, last_images, recorded
from tests.fault.test_powerloss import TABLES, check, noisy, on_file
from tests.model.outbox_kit import CLOUD, PLANT, numbers, opened

ROUNDS = 8
# A failed sync is one error whatever the reason (os_unix.c): SQLITE_IOERR_FSYNC. After it no page is certain.
FAULTS = {
    "a write finds no space": (Operation.WRITE, FULL),
    "a write fails": (Operation.WRITE, IO_ERROR),
    "the disk became read-only": (Operation.WRITE | Operation.TRUNCATE, READ_ONLY),
    "a sync fails": (Operation.SYNC, IO_ERROR),
    "a truncation fails": (Operation.TRUNCATE, IO_ERROR),
    "a file cannot be opened": (Operation.OPEN, IO_ERROR),
    "a deletion fails": (Operation.DELETE, IO_ERROR),
}


async def live(directory: Path, recorder: Recorder, fault: str, nth: int, times: int) -> int:
    """Live with one fault until the end, or until the outbox gives up; return how many operations there were."""
    operation, result = FAULTS[fault]
    recorder.fail(operation, nth, result, times)
    seen = 0
    try:
        async with (
            opened(directory, CLOUD, PLANT, commit_interval_s=0.002) as outbox,
            asyncio.TaskGroup() as group,
        ):
            running = group.create_task(outbox.run())
            number = await work(outbox, recorder)
            seen = recorder.heal()
            await flushed_in_time(outbox)
            recorder.mark(f"flushed {number}")
            running.cancel()
    except* OutboxError:
        seen = seen or recorder.heal()  # the process ends and is started again
    return seen


async def work(outbox: Outbox, recorder: Recorder) -> int:
    """Append, commit, deliver; return the last number."""
    dice, number = random.Random(7), 0
    cursor = outbox.begin(CLOUD)
    for _ in range(ROUNDS):
        if outbox._keeper.file is not None:
            await on_file(outbox, "PRAGMA wal_autocheckpoint = 8")
        for _ in range(2):
            number += 1
            recorder.mark(f"appended {number}")
            of = dice.choice(TABLES)
            await outbox.append(of, noisy(of, number, dice.choice((10, 3000))))
        try:
            await outbox.flush()
        except OutboxIOError:
            raise
        except OutboxError:
            continue  # what is in memory stays there for the next time
        recorder.mark(f"flushed {number}")
        rows = await cursor.lease(Stream.LIVE, max_rows=2, max_bytes=10**6)
        recorder.mark("sent " + " ".join(map(str, numbers(rows))))
        cursor.confirm(row.id for row in rows)
    return number


async def flushed_in_time(outbox: Outbox) -> None:
    """Commit, now that nothing fails any more: it recovers by itself."""
    async with asyncio.timeout(10):
        while True:
            try:
                await outbox.flush()
            except OutboxIOError:
                raise
            except OutboxError:
                await asyncio.sleep(0.002)
            else:
                return


def suffer(folder: Path, fault: str, nth: int, times: int) -> bool:
    """Let the ``nth`` operation fail, then start again on what is on the disk; return whether there was an nth."""
    folder.mkdir()
    with recorded(folder / "trace") as recorder:
        seen = asyncio.run(live(folder / "state", recorder, fault, nth, times))
    try:
        for image in last_images(folder / "trace", 2, nth):
            asyncio.run(check(image, folder / f"image-{image.number}"))
    except BaseException:
        print(f"{fault}: number {nth}, {times} times")
        raise
    shutil.rmtree(folder)
    return seen >= nth


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, *(pytest.param(n, marks=pytest.mark.chaos) for n in (2, 5, 10**6))])
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_in_silence(memory: Path, fault: str, times: int) -> None:
    nth = 1
    while suffer(memory / "case", fault, nth, times):
        nth += 1
    print(f"{fault}, {times} times in a row, from each of {nth - 1} operations on: 0 committed readings lost")
    assert nth > 1
