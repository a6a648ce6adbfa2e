"""When the outbox commits, what a cancellation leaves behind, and what happens when a commit fails."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import OutboxError, OutboxFullError, OutboxIOError
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, ReadingClass
from edge_agent.outbox.rows import Stream
from edge_agent.outbox.sqlite import LogFile
from edge_agent.outbox.store import Outbox
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeClock
from tests.model.outbox_kit import CLOUD, PLANT, batch, drain, fill, numbers, opened, table

PRESS = table("press-01", "a", "b")


def committed(outbox: Outbox) -> object:
    return outbox.summary()["committed"]


class Disk:
    """Makes the commits of the outbox fail or wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: OutboxError | None = None
        self.tried = 0
        write = LogFile.write

        def tried(file: LogFile, *args: Any) -> Any:
            self.tried += 1
            if self.error is not None:
                raise self.error
            return write(file, *args)

        monkeypatch.setattr(LogFile, "write", tried)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_a_reading_waits_for_the_interval_at_most(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, clock=clock) as outbox, asyncio.TaskGroup() as group:
        running = group.create_task(outbox.run())
        await outbox.append(PRESS, batch(PRESS, 1))
        await clock.advance(0.9)
        assert committed(outbox) == 0
        await clock.advance(0.2)
        await eventually(lambda: committed(outbox) == 1)
        assert clock.monotonic_s() - outbox.tick_s <= 0.11
        running.cancel()


async def test_enough_readings_are_committed_before_the_interval_ends(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, clock=clock, commit_bytes=100) as outbox, asyncio.TaskGroup() as group:
        running = group.create_task(outbox.run())
        for number in range(20):
            await outbox.append(PRESS, batch(PRESS, number))
        await eventually(lambda: committed(outbox) == 20)
        running.cancel()


async def test_an_alarm_is_committed_at_once(tmp_path: Path) -> None:
    press = table("press-01", "a", alarm=ReadingClass.ALARM)
    async with opened(tmp_path, CLOUD, clock=FakeClock()) as outbox, asyncio.TaskGroup() as group:
        running = group.create_task(outbox.run())
        await outbox.append(press, batch(press, 1, (0, 1)))
        await eventually(lambda: committed(outbox) == 2)
        running.cancel()


async def test_append_waits_while_too_much_is_in_memory(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, commit_bytes=20) as outbox, asyncio.TaskGroup() as group:
        taken = 0
        while outbox._buffer.size_bytes < 8 * 20:
            taken += 1
            await outbox.append(PRESS, batch(PRESS, taken))
        waiting = group.create_task(outbox.append(PRESS, batch(PRESS, taken + 1)))
        dropped = group.create_task(outbox.append(PRESS, batch(PRESS, 99)))
        await asyncio.sleep(0)
        assert not waiting.done()
        dropped.cancel()
        await outbox.flush()
        await waiting
        await outbox.flush()
        assert numbers(await drain(outbox.begin(CLOUD))) == list(range(1, taken + 2))


async def test_a_full_disk_keeps_readings_and_acknowledgements_for_the_next_try(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, PLANT, clock=clock) as outbox, asyncio.TaskGroup() as group:
        await fill(outbox, PRESS, 1)
        cursor = outbox.begin(CLOUD)
        running = group.create_task(outbox.run())
        disk.error = OutboxFullError("full")
        await outbox.append(PRESS, batch(PRESS, 2))
        cursor.confirm([1])
        outbox.learned(DeviceId("press-01"))["k"] = "v"
        await clock.advance(1)
        await eventually(lambda: disk.tried == 2)
        await outbox.append(PRESS, batch(PRESS, 3))
        await clock.advance(0.5)
        assert disk.tried == 2, "it is not tried again before the interval has passed"
        await clock.advance(0.6)
        await eventually(lambda: disk.tried == 3)
        assert (outbox.summary()["buffered"], outbox.summary()["trouble"]) == (2, "full")
        disk.error = None
        await clock.advance(1)
        await eventually(lambda: committed(outbox) == 3)
        assert outbox.summary()["trouble"] == ""
        running.cancel()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"], "on the edge"
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        assert numbers(await drain(outbox.begin(CLOUD))) == [2, 3]
        assert numbers(await drain(outbox.begin(PLANT))) == [1, 2, 3]
        assert outbox.learned(DeviceId("press-01"))["k"] == "v"


async def test_a_failed_disk_ends_run_and_is_not_written_again(tmp_path: Path, disk: Disk) -> None:
    async with opened(tmp_path, CLOUD, clock=FakeClock()) as outbox:
        await outbox.append(PRESS, batch(PRESS, 1))
        disk.error = OutboxIOError("EIO")
        with pytest.raises(OutboxIOError):
            await outbox.flush()
        disk.error = None
        with pytest.raises(OutboxIOError, match="EIO"):
            await outbox.run()
    assert disk.tried == 1


async def test_a_commit_that_is_cancelled_ends_and_counts(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.append(PRESS, batch(PRESS, 1))
        async with asyncio.TaskGroup() as group:
            flushing = group.create_task(outbox.flush())
            await asyncio.sleep(0)
            flushing.cancel()
        assert flushing.cancelled()
        assert (committed(outbox), outbox.summary()["buffered"]) == (1, 0)
        await fill(outbox, PRESS, 2)
        assert [row.id for row in await drain(outbox.begin(CLOUD))] == [1, 2]


async def test_an_opening_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    async def cancelled() -> None:
        async with opened(tmp_path, CLOUD):
            raise AssertionError

    async with asyncio.TaskGroup() as group:
        opening = group.create_task(cancelled())
        await asyncio.sleep(0)
        opening.cancel()
    assert opening.cancelled()
    async with opened(tmp_path, CLOUD):  # the directory is free
        pass


async def test_a_cancelled_lease_has_leased_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1, 2)
        cursor = outbox.begin(CLOUD)
        async with asyncio.TaskGroup() as group:
            leasing = group.create_task(cursor.lease(Stream.REPLAY, max_rows=9, max_bytes=9999))
            await asyncio.sleep(0)
            leasing.cancel()
        assert numbers(await drain(cursor)) == [1, 2]


async def test_readings_and_acknowledgements_that_come_during_a_commit_are_in_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, 1, 2)
        cursor = outbox.begin(CLOUD)
        cursor.confirm([1])
        async with asyncio.TaskGroup() as group:
            group.create_task(outbox.flush())
            await asyncio.sleep(0)  # the commit is on its thread now
            cursor.confirm([2])
            await outbox.append(PRESS, batch(PRESS, 3))
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        assert numbers(await drain(outbox.begin(CLOUD))) == [3]


async def test_close_commits_what_is_left_and_may_be_called_twice(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.append(PRESS, batch(PRESS, 1))
        await outbox.close()
    async with opened(tmp_path, CLOUD) as outbox:
        assert numbers(await drain(outbox.begin(CLOUD))) == [1]


async def test_a_malformed_batch_is_refused_and_spoils_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.append(PRESS, batch(PRESS, 1))
        with pytest.raises(ValueError, match="2 points"):
            await outbox.append(PRESS, batch(PRESS, 2, (2,)))
        with pytest.raises(ValueError, match="does not fit"):
            await outbox.append(PRESS, batch(table("cnc-07"), 2))
        await outbox.flush()
        assert numbers(await drain(outbox.begin(CLOUD))) == [1]


async def test_letting_go_of_a_large_backlog_is_spread_over_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.outbox.ledger.MAX_RELEASED_ROWS", 3)
    async with opened(tmp_path, CLOUD, metrics=Metrics()) as outbox:
        await fill(outbox, PRESS, *range(8))
        await drain(outbox.begin(CLOUD))
        left = []
        for _ in range(3):
            await outbox.flush()
            left.append(outbox.summary()["rows"])
        assert left == [5, 2, 0]
