"""What gives way when the outbox is full or old: exactly the right rows, each counted, noted and told of."""

import asyncio
import random
import sqlite3
from array import array
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import OutboxFullError
from edge_agent.metrics import Metrics
from edge_agent.model import Column, DataType, PointTable, ReadingBatch, ReadingClass
from edge_agent.outbox.options import WhenFull
from edge_agent.outbox.rows import Gap, Row, Stream
from edge_agent.outbox.sqlite import LogFile
from edge_agent.outbox.store import FILE_NAME, Outbox
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeClock
from tests.model.outbox_kit import CLOUD, PLANT, T0_NS, account, batch, drain, fill, named, numbers, opened, table

PRESS = table("press-01", "a", "b")
CNC = table("cnc-07", "a")
MIXED = table("press-01", "t", c=ReadingClass.COUNTER, e=ReadingClass.EVENT, a=ReadingClass.ALARM)
BOUND = 400_000


def noise(of: PointTable, number: int, size: int = 3000, point: int = 0) -> ReadingBatch:
    """Return a batch that no compression makes smaller."""
    column = Column(DataType.BYTES, array("H", [point]), [random.Random(number).randbytes(size)])
    return ReadingBatch(of.device, T0_NS + number, (column,))


async def overrun(outbox: Outbox, of: PointTable, rows: int, *, size: int = 3000, first: int = 1) -> None:
    for number in range(first, first + rows):
        await outbox.append(of, noise(of, number, size))
        await outbox.flush()


def gaps_of(rows: list[Row]) -> list[Gap]:
    return [row.gap for row in rows if row.gap is not None]


def losses(directory: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{directory / FILE_NAME}?mode=ro", uri=True)
    try:
        found = (
            "SELECT device, class, publisher, row_first, row_last, rows, readings, reason FROM loss ORDER BY id"
        )
        return connection.execute(found).fetchall()
    finally:
        connection.close()


async def test_the_oldest_rows_of_the_lowest_class_give_way_and_every_missing_id_is_in_a_gap_record(
    tmp_path: Path,
) -> None:
    metrics = Metrics()
    async with opened(tmp_path, CLOUD, metrics=metrics, max_bytes=BOUND) as outbox:
        for number in range(1, 4):  # ids 1 to 12
            for point in (3, 2, 1, 0):
                await outbox.append(MIXED, noise(MIXED, number, point=point))
                await outbox.flush()
        await overrun(outbox, CNC, 200)
        kept = await drain(outbox.begin(CLOUD), confirm=False)
    readings = [row for row in kept if row.gap is None]
    gaps = gaps_of(kept)
    ids = {row.id for row in kept}
    missing = set(range(1, max(ids) + 1)) - ids
    trend = [row.id for row in readings if row.reading_class is ReadingClass.TREND]
    assert len(missing) > 100
    assert max(missing) < min(trend), "the oldest first"
    assert [row.reading_class.value for row in readings[:9]] == ["alarm", "event", "counter"] * 3, "trend alone"
    assert sum(gap.rows for gap in gaps) == sum(gap.readings for gap in gaps) == len(missing)
    assert metrics.registry.get_sample_value("edge_agent_outbox_lost_readings_total", {"reason": "full"}) == len(
        missing
    )
    told = {
        row_id
        for row, gap in ((row, row.gap) for row in kept)
        if gap is not None and row.table.device == "cnc-07"
        for row_id in range(gap.row_first, gap.row_last + 1)
    }
    assert {row_id for row_id in missing if row_id > 12} <= told
    assert {gap.reading_class for gap in gaps} == {"trend"}


async def test_a_class_gives_way_when_no_lower_one_is_left(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, max_bytes=BOUND) as outbox:
        for point in (3, 2, 1, 0):  # alarms first, trend last
            for number in range(40):
                await outbox.append(MIXED, noise(MIXED, number, point=point))
                await outbox.flush()
        for number in range(100, 180):
            await outbox.append(MIXED, noise(MIXED, number, point=3))
            await outbox.flush()
        kept = [row for row in await drain(outbox.begin(CLOUD), confirm=False) if row.gap is None]
    assert {row.reading_class.value for row in kept} == {"alarm"}
    assert numbers(kept) == sorted(numbers(kept))
    assert numbers(kept)[-1] == 179


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 200, 2000, 9000, 60_000])
async def test_peer_defect_07_the_bound_holds_in_bytes_for_tiny_rows_and_for_huge_ones(
    tmp_path: Path, size: int
) -> None:
    bound = 10 * BOUND
    async with opened(tmp_path, CLOUD, max_bytes=bound) as outbox:
        rows = {1: 30_000, 200: 12_000, 2000: 2500, 9000: 500, 60_000: 100}[size]
        at_once = 60_000 // (size + 100) + 1
        for number in range(rows):
            of = PRESS if number % 2 else table("press-01", "b", "a")  # a table of its own: a row of its own
            await outbox.append(of, noise(of, number, size))
            if number % at_once == 0:
                await outbox.flush()
                on_disk = sum((tmp_path / f"{FILE_NAME}{end}").stat().st_size for end in ("", "-wal"))
                assert on_disk <= bound, "what the file system says, SQLite's log included"
        kept = [row for row in await drain(outbox.begin(CLOUD), confirm=False) if row.gap is None]
        assert 0 < len(kept) < rows
        used = outbox.summary()["used_bytes"]
        assert isinstance(used, int)
        assert used > 0.6 * bound, "most of the bound is used, whatever the size"
        assert account(outbox, CLOUD)["pending"] == len(kept)


async def test_each_publisher_is_told_of_what_it_was_owed_and_of_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, PLANT, max_bytes=BOUND) as outbox:
        cloud = outbox.begin(CLOUD)
        await overrun(outbox, CNC, 40)
        await drain(cloud, Stream.LIVE)  # cloud has 1 to 40
        await overrun(outbox, CNC, 50, first=41)
        live = await drain(cloud, Stream.LIVE)
        plant = await drain(outbox.begin(PLANT))
        await outbox.flush()
        assert numbers(live) == list(range(41, 91)), "it lost nothing"
        assert gaps_of(live) == []
        dropped = account(outbox, PLANT)["dropped"]
        assert dropped == sum(gap.readings for gap in gaps_of(plant)) > 10
        assert account(outbox, CLOUD) == {"committed": 90, "confirmed": 90, "dropped": 0, "pending": 0}
        assert account(outbox, PLANT) == {
            "committed": 90, "confirmed": 90 - dropped, "dropped": dropped, "pending": 0,
        }  # fmt: skip
        assert outbox.summary()["rows"] == 0
    assert {loss[2] for loss in losses(tmp_path)} == {"plant"}


async def test_rows_that_everybody_has_are_no_loss(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, max_bytes=BOUND) as outbox:
        cursor = outbox.begin(CLOUD)
        for first in range(1, 200, 20):
            await overrun(outbox, CNC, 20, first=first)
            await drain(cursor, Stream.LIVE)
        await outbox.flush()
        assert account(outbox, CLOUD) == {"committed": 200, "confirmed": 200, "dropped": 0, "pending": 0}
    assert losses(tmp_path) == []


async def test_drop_newest_takes_nothing_new_of_the_lowest_class_and_keeps_what_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, max_bytes=BOUND, when_full=WhenFull.DROP_NEWEST) as outbox:
        await overrun(outbox, CNC, 150)
        kept = [row for row in await drain(outbox.begin(CLOUD), confirm=False) if row.gap is None]
        taken = len(kept)
        assert numbers(kept) == list(range(1, taken + 1)), "the oldest stay; nothing is told every second"
        await outbox.append(MIXED, noise(MIXED, 1, point=3))
        await outbox.flush()
        committed = account(outbox, CLOUD)["committed"]
        assert committed == taken + 1, "an alarm comes in: what is lower gives way"
        lost = outbox.summary()["lost"]
        assert isinstance(lost, dict)
        assert lost["newest"] == 150 - taken
        assert lost["full"] > 0
    async with opened(tmp_path, CLOUD, max_bytes=BOUND) as outbox:
        gaps = gaps_of(await drain(outbox.begin(CLOUD)))
        first, second = [gap for gap in gaps if gap.reason == "newest"]
        assert (first.readings, second.readings) == (1, 149 - taken), (
            "at once, and then after a minute or at the end"
        )
        assert (first.rows, first.row_first) == (0, 0)
        assert (first.t_first_ns, second.t_last_ns) == (T0_NS + taken + 1, T0_NS + 150)


async def test_a_long_overrun_of_drop_newest_makes_a_gap_record_a_minute(tmp_path: Path) -> None:
    clock = FakeClock()
    changes: dict[str, Any] = {"max_bytes": BOUND, "when_full": WhenFull.DROP_NEWEST}
    async with opened(tmp_path, CLOUD, clock=clock, **changes) as outbox:
        for number in range(300):
            await outbox.append(CNC, noise(CNC, number))
            await outbox.flush()
            await clock.advance(1)
        gaps = gaps_of(await drain(outbox.begin(CLOUD), confirm=False))
    assert 3 <= len(gaps) <= 6


async def test_block_waits_until_something_is_confirmed_and_loses_nothing(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "max_bytes": BOUND,
        "when_full": WhenFull.BLOCK,
        "commit_bytes": 10_000,
        "commit_interval_s": 0.01,
    }
    async with opened(tmp_path, CLOUD, **changes) as outbox:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(outbox.run())
            feeding = group.create_task(feed(outbox, 200))
            await eventually(lambda: "max_size" in str(outbox.summary()["trouble"]))
            assert not feeding.done()
            seen: list[int] = []
            cursor = outbox.begin(CLOUD)
            while len(seen) < 200:
                for stream in Stream:
                    seen += numbers(await drain(cursor, stream))
                await asyncio.sleep(0.005)
            running.cancel()
        assert sorted(seen) == list(range(200))
        assert outbox.summary()["trouble"] == ""
    assert losses(tmp_path) == []


async def feed(outbox: Outbox, count: int) -> None:
    for number in range(count):
        await outbox.append(CNC, noise(CNC, number))


async def test_a_commit_into_a_full_outbox_that_blocks_says_so_and_keeps_the_readings(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, max_bytes=BOUND, when_full=WhenFull.BLOCK) as outbox:
        with pytest.raises(OutboxFullError, match="max_size"):
            await overrun(outbox, CNC, 200)
        assert outbox.summary()["buffered"] == 1


async def test_peer_defect_04_rows_that_were_kept_for_max_age_go_and_younger_ones_stay(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, clock=clock, max_age_s=3600.0) as outbox:
        await fill(outbox, PRESS, 1, 2)
        await outbox.append(MIXED, batch(MIXED, 3, (3,)))
        await clock.advance(3000)
        await fill(outbox, PRESS, 4)
        assert numbers(await drain(outbox.begin(CLOUD), confirm=False)) == [1, 2, 3, 4]
        await clock.advance(560)
        await fill(outbox, PRESS, 5)
        assert numbers(await drain(outbox.begin(CLOUD), confirm=False)) == [1, 2, 3, 4, 5], "not a minute early"
        await clock.advance(120)
        await fill(outbox, PRESS, 6)
        kept = await drain(outbox.begin(CLOUD), confirm=False)
        assert numbers(kept) == [3, 4, 5, 6]
        assert [gap.reason for gap in gaps_of(kept)] == ["age"]


async def test_age_is_counted_while_the_agent_runs_and_survives_restarts(tmp_path: Path) -> None:
    for _ in range(3):
        clock = FakeClock()
        async with opened(tmp_path, CLOUD, clock=clock, max_age_s=100.0) as outbox:
            await fill(outbox, PRESS, 1)
            for _ in range(15):
                await clock.advance(2)
                await outbox.flush()
                await fill(outbox, CNC, 2)
    async with opened(tmp_path, CLOUD, clock=FakeClock(), max_age_s=100.0) as outbox:
        before = account(outbox, CLOUD)["dropped"]
        assert before == 0
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, clock=clock, max_age_s=100.0) as outbox:
        await fill(outbox, PRESS, 3)
        await clock.advance(25)
        await fill(outbox, PRESS, 4)
        assert account(outbox, CLOUD)["dropped"] > 0


async def test_a_wall_clock_that_steps_expires_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, clock=clock, max_age_s=3600.0) as outbox:
        await fill(outbox, PRESS, 1)
        for step_s in (86_400 * 365, -86_400 * 365 * 50):
            clock.step(step_s)
            await fill(outbox, PRESS, 2)
        assert account(outbox, CLOUD)["dropped"] == 0


async def test_a_gap_record_survives_being_unsent_and_goes_when_it_is_confirmed(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, max_bytes=BOUND) as outbox:
        await overrun(outbox, CNC, 150)
    async with opened(tmp_path, CLOUD, max_bytes=BOUND) as outbox:
        first = await drain(outbox.begin(CLOUD), confirm=False)
        assert gaps_of(first)
        assert named([row for row in first if row.gap is not None]) == []
        await drain(outbox.begin(CLOUD))
        await outbox.flush()
        assert outbox.summary()["rows"] == 0


async def test_a_bound_that_was_lowered_is_reached_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.outbox.retention._MOST_FREED_BYTES", 100_000)
    async with opened(tmp_path, CLOUD, max_bytes=10 * BOUND) as outbox:
        await overrun(outbox, CNC, 300)
    used = []
    async with opened(tmp_path, CLOUD, max_bytes=BOUND) as outbox:
        for number in range(10):
            await fill(outbox, CNC, number)
            used.append(int(str(outbox.summary()["used_bytes"])))
        account(outbox, CLOUD)
        assert numbers(await drain(outbox.begin(CLOUD), confirm=False))[-10:] == list(range(10)), (
            "new ones come in"
        )
    assert used[0] > 2 * BOUND
    assert used[-1] < BOUND


async def test_a_commit_that_fails_has_given_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, CLOUD, max_bytes=BOUND) as outbox:
        await overrun(outbox, CNC, 40)
        before = account(outbox, CLOUD), outbox.summary()["rows"]

        def failing(*_args: object) -> None:
            raise OutboxFullError("full")

        with monkeypatch.context() as patch:
            patch.setattr(LogFile, "_forget_tables", failing)
            with pytest.raises(OutboxFullError):
                await overrun(outbox, CNC, 60, first=61)
            assert outbox.summary()["lost"]["full"] == 0  # type: ignore[index]
            during = account(outbox, CLOUD)
            assert during["dropped"] == 0
        await outbox.flush()
        await overrun(outbox, CNC, 30, first=200)
        rows = await drain(outbox.begin(CLOUD), confirm=False)
        lost = sum(gap.readings for gap in gaps_of(rows))
        assert lost == account(outbox, CLOUD)["dropped"] == outbox.summary()["lost"]["full"]  # type: ignore[index]
        assert before[0]["committed"] == 40
