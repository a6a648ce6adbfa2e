"""A disk that is full or takes no writes: collecting goes on in memory, within bounds, and it mends by itself."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.metrics import Metrics
from edge_agent.model import ReadingClass
from edge_agent.outbox.options import WhenFull
from edge_agent.outbox.reserve import BALLAST_NAME
from edge_agent.outbox.rows import Reason
from edge_agent.outbox.store import Outbox
from edge_agent.testing.eventually import eventually
from tests.fault.powerloss import READ_ONLY, Operation, Recorder, recorded
from tests.model.outbox_kit import CLOUD, batch, drain, fill, numbers, opened, table

PRESS = table("press-01", "a", alarm=ReadingClass.ALARM)
AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")
MIB = 1024 * 1024


def root(*command: str | Path) -> None:
    subprocess.run([*AS_ROOT, *command], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    at = tmp_path / "disk"
    at.mkdir()
    root("mount", "-t", "tmpfs", "-o", f"size=4m,uid={os.geteuid()},mode=0700", "tmpfs", at)
    yield at
    root("umount", "--lazy", at)


@pytest.fixture
def recorder(memory: Path) -> Iterator[Recorder]:
    """Lets SQLite's calls of the file system fail."""
    with recorded(memory / "trace") as recorder:
        yield recorder


def read_only(recorder: Recorder) -> None:
    """As after an error of ext4: what is open stays open, nothing can be written."""
    recorder.fail(Operation.WRITE | Operation.TRUNCATE | Operation.SYNC, 1, READ_ONLY, 10**9)


def take_all(at: Path) -> None:
    """A neighbour takes what is left."""
    with (at / "neighbour").open("ab", buffering=0) as taken, contextlib.suppress(OSError):
        while True:
            taken.write(bytes(4096))


@asynccontextmanager
async def running(at: Path, metrics: Metrics, **changes: float | WhenFull) -> AsyncIterator[Outbox]:
    opening = opened(at, CLOUD, metrics=metrics, commit_interval_s=0.02, reserve_bytes=0, **changes)  # type: ignore[arg-type]
    async with opening as outbox, asyncio.TaskGroup() as group:
        task = group.create_task(outbox.run())
        yield outbox
        task.cancel()


def trouble(outbox: Outbox) -> str:
    return str(outbox.summary()["trouble"])


@pytest.mark.slow
async def test_a_read_only_disk_costs_nothing_while_memory_lasts(memory: Path, recorder: Recorder) -> None:
    metrics = Metrics()
    async with running(memory / "state", metrics) as outbox:
        await fill(outbox, PRESS, 1, 2)
        read_only(recorder)
        for number in range(3, 200):
            await outbox.append(PRESS, batch(PRESS, number))
        await eventually(lambda: trouble(outbox) != "")
        assert numbers(await drain(outbox.begin(CLOUD))) == [1, 2], "what is on disk can be sent"
        recorder.heal()
        began_s = time.monotonic()
        await eventually(lambda: outbox.summary()["buffered"] == 0)
        assert time.monotonic() - began_s < 10
        assert trouble(outbox) == ""
    async with opened(memory / "state", CLOUD) as outbox:
        assert numbers(await drain(outbox.begin(CLOUD))) == list(range(3, 200))


@pytest.mark.slow
async def test_a_start_on_a_read_only_disk_collects_in_memory(disk: Path) -> None:
    async with opened(disk / "state", CLOUD, reserve_bytes=0) as outbox:
        await fill(outbox, PRESS, 1)
        outbox.learned(PRESS.device)["map"] = "3"
    await asyncio.to_thread(root, "mount", "-o", "remount,ro", disk)
    async with running(disk / "state", Metrics()) as outbox:
        cursor = outbox.begin(CLOUD)
        await outbox.append(PRESS, batch(PRESS, 2))
        await asyncio.to_thread(root, "mount", "-o", "remount,rw", disk)
        await eventually(lambda: outbox.summary()["buffered"] == 0)
        assert outbox.learned(PRESS.device)["map"] == "3"
        assert numbers(await drain(cursor)) + numbers(await drain(outbox.begin(CLOUD))) == [1, 2]


@pytest.mark.slow
async def test_memory_is_bounded_and_what_gives_way_is_told(memory: Path, recorder: Recorder) -> None:
    metrics = Metrics()
    async with running(memory / "state", metrics, memory_bytes=64 * 1024) as outbox:
        await fill(outbox, PRESS, 1)
        read_only(recorder)
        await outbox.append(PRESS, batch(PRESS, 2, (1,)))
        await eventually(lambda: trouble(outbox) != "")
        for number in range(3, 2000):
            await outbox.append(table(f"device-{number % 50}"), batch(table(f"device-{number % 50}"), number))
            assert outbox._buffer.memory_bytes <= 64 * 1024 + 1000
        recorder.heal()
        await eventually(lambda: outbox.summary()["buffered"] == 0)
    async with opened(memory / "state", CLOUD, reserve_bytes=0) as outbox:
        rows = await drain(outbox.begin(CLOUD))
    gaps = [row.gap for row in rows if row.gap is not None]
    arrived = numbers([row for row in rows if row.gap is None])
    assert {1, 2} <= set(arrived), "the alarm outlasts all others"
    assert all(gap.reason is Reason.MEMORY for gap in gaps)
    lost = sum(gap.readings for gap in gaps)
    assert lost == metrics.registry.get_sample_value("edge_agent_outbox_lost_readings_total", {"reason": "memory"})
    assert len(arrived) + lost == 1999
    assert lost > 1000


@pytest.mark.slow
async def test_devices_wait_where_the_policy_is_to_block(memory: Path, recorder: Recorder) -> None:
    async with running(memory / "state", Metrics(), when_full=WhenFull.BLOCK, commit_bytes=100) as outbox:
        await fill(outbox, PRESS, 1)
        read_only(recorder)
        taken = [1]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                for number in range(2, 200):
                    await outbox.append(PRESS, batch(PRESS, number))
                    taken.append(number)
        assert len(taken) < 100
        recorder.heal()
        await eventually(lambda: outbox.summary()["buffered"] == 0)
        assert numbers(await drain(outbox.begin(CLOUD))) == taken


@pytest.mark.slow
async def test_a_neighbour_that_fills_the_disk_is_survived_and_the_ballast_comes_back(disk: Path) -> None:
    metrics = Metrics()
    async with running(disk / "state", metrics) as outbox:
        await fill(outbox, PRESS, *range(1, 20))
        assert (disk / "state" / BALLAST_NAME).exists()
        await asyncio.to_thread(take_all, disk)
        appended = 20
        for _ in range(2000):
            await outbox.append(PRESS, batch(PRESS, appended))
            appended += 1
            if trouble(outbox) and not (disk / "state" / BALLAST_NAME).exists():
                break
            await asyncio.sleep(0)
        (disk / "neighbour").unlink()
        began_s = time.monotonic()
        await eventually(lambda: outbox.summary()["buffered"] == 0 and trouble(outbox) == "")
        assert time.monotonic() - began_s < 10
        await fill(outbox, PRESS, appended)
        assert (disk / "state" / BALLAST_NAME).exists()
    async with opened(disk / "state", CLOUD, reserve_bytes=0) as outbox:
        rows = await drain(outbox.begin(CLOUD))
    lost = sum(row.gap.readings for row in rows if row.gap is not None)
    arrived = numbers([row for row in rows if row.gap is None])
    assert len(arrived) + lost == appended
    assert arrived == sorted(set(arrived))
