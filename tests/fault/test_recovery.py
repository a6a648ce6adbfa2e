"""A damaged outbox never stops the agent: it is set aside, a new one begins, and what can be read comes back."""

import asyncio
import random
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.metrics import Metrics
from edge_agent.model import PointTable, PublisherId, ReadingClass
from edge_agent.outbox.losses import EVERYBODY
from edge_agent.outbox.recovery import DAMAGED_NAME, FILE_NAME
from edge_agent.outbox.rows import Row, Stream
from edge_agent.outbox.sqlite import GENERATION_ROWS
from edge_agent.outbox.store import Cursor, Outbox
from edge_agent.testing.eventually import eventually
from tests.model.outbox_kit import CLOUD, PLANT, batch, drain, fill, numbers, opened, table

PRESS = table("press-01", "a", "b")
CNC = table("cnc-07", "a")
PAGE = 4096


async def queue(directory: Path, count: int = 60, of: tuple[PointTable, ...] = (PRESS, CNC)) -> dict[int, int]:
    """Leave a log behind as a killed process does, half of it in the WAL; return row id → number."""
    origin = directory.with_name(directory.name + "-origin")
    async with opened(origin, CLOUD) as outbox:
        for number in range(1, count // 2 + 1):
            await fill(outbox, of[number % len(of)], number)
    async with opened(origin, CLOUD) as outbox:
        for number in range(count // 2 + 1, count + 1):
            await fill(outbox, of[number % len(of)], number)
        shutil.copytree(origin, directory)
    return {number: number for number in range(1, count + 1)}


@asynccontextmanager
async def running(
    directory: Path, *publishers: PublisherId, metrics: Metrics | None = None
) -> AsyncIterator[Outbox]:
    """An outbox at work, in which live data flow."""
    opening = opened(directory, *publishers, metrics=metrics, commit_interval_s=0.01)
    async with opening as outbox, asyncio.TaskGroup() as group:
        task = group.create_task(outbox.run())
        yield outbox
        task.cancel()


async def arrives(outbox: Outbox, cursor: Cursor, number: int) -> list[Row]:
    """A new reading goes through live; return what came until then."""
    await outbox.append(PRESS, batch(PRESS, number))
    rows: list[Row] = []
    while number not in numbers(rows):
        async with asyncio.timeout(10):
            await cursor.wait([Stream.LIVE])
        rows += await cursor.lease(Stream.LIVE, max_rows=10, max_bytes=10**6)
    cursor.confirm(row.id for row in rows)
    return rows


async def salvaged(metrics: Metrics) -> None:
    await eventually(lambda: metrics.registry.get_sample_value("edge_agent_outbox_salvage_progress") == 1)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"edge_agent_outbox_{name}", labels) or 0.0


def spoil(directory: Path, change: Callable[[bytearray], None], name: str = FILE_NAME) -> None:
    path = directory / name
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def spoil_tree(directory: Path, change: Callable[[bytearray], None]) -> None:
    """Damage the database after its log has gone into it, for what is in the log covers it."""
    sql = sqlite3.connect(directory / FILE_NAME)
    sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    sql.close()
    spoil(directory, change)


def no_header(content: bytearray) -> None:
    content[:100] = bytes(100)


def no_tree(content: bytearray) -> None:
    content[:PAGE] = random.Random(1).randbytes(PAGE)


def wrong_release(content: bytearray) -> None:
    content[60:64] = b"\0\0\0\x0a"  # user_version; the migrations of the file say otherwise


def no_wal_header(content: bytearray) -> None:
    content[:32] = bytes(32)


def garbled_schema(content: bytearray) -> None:
    at = content.index(b"CREATE TABLE")
    content[at : at + 6] = b"\xdf\xd7\xcf\xce\xdf\xd7"  # SQLite quotes it in its message: no UTF-8


def nothing(content: bytearray) -> None:
    content.clear()


def bad_frame(content: bytearray) -> None:
    content[32 + 24 + 4120 * 5 + 4000] ^= 1


def cut_in_half(content: bytearray) -> None:
    del content[len(content) // 2 :]


async def test_peer_defect_10_a_corrupt_store_does_not_stop_the_agent(tmp_path: Path) -> None:
    state, metrics = tmp_path / "state", Metrics()
    await queue(state)
    await asyncio.to_thread(spoil_tree, state, no_tree)
    began_s = time.monotonic()
    async with running(state, CLOUD, metrics=metrics) as outbox:
        cursor = outbox.begin(CLOUD)
        await arrives(outbox, cursor, 1000)
        assert time.monotonic() - began_s < 10
        await salvaged(metrics)
        back = await drain(cursor)
        await outbox.flush()
        assert set(numbers(back)) == set(range(1, 61)), "all rows were on other pages"
        assert all(row.historical for row in back)
        assert value(metrics, "damaged_files_total") == 1
    assert not list((state / DAMAGED_NAME).iterdir()), "nothing is left that nobody has read"


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (no_header, FILE_NAME),
        (no_tree, FILE_NAME),
        (garbled_schema, FILE_NAME),
        (no_wal_header, f"{FILE_NAME}-wal"),
        (bad_frame, f"{FILE_NAME}-wal"),
    ],
)
async def test_what_was_not_damaged_comes_back_under_its_own_identity(
    tmp_path: Path, damage: Callable[[bytearray], None], name: str
) -> None:
    state, metrics = tmp_path / "state", Metrics()
    await queue(state)
    async with opened(tmp_path / "state-origin", CLOUD) as outbox:
        epoch = outbox.epoch
    if name == FILE_NAME:
        await asyncio.to_thread(spoil_tree, state, damage)
    else:
        await asyncio.to_thread(spoil, state, damage, name)
    async with running(state, CLOUD, metrics=metrics) as outbox:
        assert outbox.epoch != epoch
        await fill(outbox, PRESS, 1000)
        assert outbox._ledger.last_id == GENERATION_ROWS + 1
        await salvaged(metrics)
        rows = await drain(outbox.begin(CLOUD))
    old = {row.id: numbers([row])[0] for row in rows if row.epoch == epoch}
    assert all(row_id == number for row_id, number in old.items())
    lost = value(metrics, "unsalvaged_rows_total")
    assert len(old) + lost == 60
    assert lost <= 3


async def test_a_file_that_was_emptied_costs_no_row_that_is_in_its_log(tmp_path: Path) -> None:
    state, metrics = tmp_path / "state", Metrics()
    await queue(state)
    await asyncio.to_thread(spoil, state, nothing)
    async with running(state, CLOUD, metrics=metrics) as outbox:
        await salvaged(metrics)
        rows = await drain(outbox.begin(CLOUD))
    assert set(range(31, 61)) <= set(numbers(rows))


async def test_rows_that_give_way_while_they_are_read_are_no_damage(tmp_path: Path) -> None:
    metrics = Metrics()
    async with running(tmp_path, CLOUD, metrics=metrics) as outbox:
        await fill(outbox, PRESS, *range(1, 41))
        keeper, loop, read = outbox._keeper, asyncio.get_running_loop(), outbox._keeper.read

        def drop_and_read(*args: Any) -> None:
            assert keeper.file is not None
            keeper.file._sql.execute("DELETE FROM row WHERE id <= 30")
            loop.call_soon_threadsafe(outbox._ledger.kept.discard, 1, 30)
            read(*args)

        keeper.read = drop_and_read  # type: ignore[method-assign, assignment]
        assert numbers(await drain(outbox.begin(CLOUD))) == list(range(31, 41))
        assert value(metrics, "damaged_files_total") == 0


async def test_what_was_acknowledged_does_not_come_back(tmp_path: Path) -> None:
    origin, state, metrics = tmp_path / "origin", tmp_path / "state", Metrics()
    async with opened(origin, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, *range(1, 21))
        outbox.begin(CLOUD).confirm(range(1, 11))
        outbox.begin(PLANT).confirm(range(6, 16))
        outbox.learned(PRESS.device)["map"] = "3,4"
        await outbox.flush()
        shutil.copytree(origin, state)
    await asyncio.to_thread(spoil_tree, state, no_tree)
    async with running(state, CLOUD, PLANT, metrics=metrics) as outbox:
        await salvaged(metrics)
        assert numbers(await drain(outbox.begin(CLOUD))) == list(range(11, 21))
        assert numbers(await drain(outbox.begin(PLANT))) == [1, 2, 3, 4, 5, *range(16, 21)]
        assert outbox.learned(PRESS.device)["map"] == "3,4"
        await outbox.flush()
        assert outbox.summary()["rows"] == 0


async def test_a_log_that_was_cut_off_is_noticed_and_the_loss_is_told(tmp_path: Path) -> None:
    state, metrics = tmp_path / "state", Metrics()
    await queue(state)
    await asyncio.to_thread(spoil, state, cut_in_half, f"{FILE_NAME}-wal")
    async with running(state, CLOUD, metrics=metrics) as outbox:
        await salvaged(metrics)
        await outbox.flush()
        rows = await drain(outbox.begin(CLOUD))
    gaps = [row.gap for row in rows if row.gap is not None]
    saved = numbers([row for row in rows if row.gap is None])
    assert saved == list(range(1, len(saved) + 1))
    assert 30 < len(saved) < 60
    assert sum(gap.rows for gap in gaps) == 60 - len(saved) == value(metrics, "unsalvaged_rows_total")
    assert (gaps[0].row_first, gaps[0].row_last, gaps[0].reason.value) == (len(saved) + 1, 60, "damaged")


async def test_damage_while_the_agent_runs_costs_no_restart(tmp_path: Path) -> None:
    metrics = Metrics()
    async with running(tmp_path, CLOUD, metrics=metrics) as outbox:
        cursor = outbox.begin(CLOUD)
        await fill(outbox, PRESS, *range(1, 31))
        leased = await cursor.lease(Stream.LIVE, max_rows=10, max_bytes=10**6)

        def damage() -> None:
            outbox._keeper.file._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # type: ignore[union-attr]
            spoil(tmp_path, no_tree)
            outbox._keeper.file._sql.execute("PRAGMA cache_size = 0")  # type: ignore[union-attr]
            outbox._keeper.file._sql.execute("PRAGMA shrink_memory")  # type: ignore[union-attr]

        await asyncio.get_running_loop().run_in_executor(outbox._thread, damage)
        began_s = time.monotonic()
        leased += await arrives(outbox, cursor, 1000)
        assert time.monotonic() - began_s < 10
        cursor.confirm(row.id for row in leased)  # they were on their way
        await salvaged(metrics)
        back = await drain(cursor)
        assert set(numbers(back + leased)) == {*range(1, 31), 1000}
        assert value(metrics, "damaged_files_total") == 1


async def test_a_salvage_that_was_interrupted_is_begun_again(tmp_path: Path) -> None:
    state, metrics = tmp_path / "state", Metrics()
    await queue(state)
    await asyncio.to_thread(spoil_tree, state, no_tree)
    async with opened(state, CLOUD):  # nothing runs: set aside, not salvaged
        pass
    async with running(state, CLOUD, metrics=metrics) as outbox:
        await salvaged(metrics)
        await eventually(lambda: value(metrics, "salvaged_rows_total") == 60)
        assert set(numbers(await drain(outbox.begin(CLOUD)))) == set(range(1, 61))


async def test_a_header_that_names_a_release_which_never_wrote_the_file_is_damage(tmp_path: Path) -> None:
    metrics = Metrics()
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1, 2)
    await asyncio.to_thread(spoil, tmp_path, wrong_release)
    async with running(tmp_path, CLOUD, metrics=metrics) as outbox:
        await salvaged(metrics)
        assert numbers(await drain(outbox.begin(CLOUD))) == [1, 2]


async def test_a_newer_release_is_refused_and_not_set_aside(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1)

    def upgrade() -> None:
        sql = sqlite3.connect(tmp_path / FILE_NAME)
        sql.execute("PRAGMA user_version = 4")
        step = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, '004', '')"
        sql.execute(step, ("edge_agent.outbox",))
        sql.commit()
        sql.close()

    await asyncio.to_thread(upgrade)
    with pytest.raises(Exception, match="newer release"):
        async with opened(tmp_path, CLOUD):
            pass
    assert not (tmp_path / DAMAGED_NAME).exists()


async def test_alarms_of_a_damaged_page_are_told_by_class_and_device(tmp_path: Path) -> None:
    state, metrics = tmp_path / "state", Metrics()
    mixed = table("press-01", "a", door=ReadingClass.EVENT)
    origin = tmp_path / "origin"
    async with opened(origin, CLOUD) as outbox:
        for number in range(1, 41):
            await outbox.append(mixed, batch(mixed, number, (0, 1)))
            await outbox.flush()

    def damage() -> None:
        shutil.copytree(origin, state)
        sql = sqlite3.connect(state / FILE_NAME)
        ((crc,),) = sql.execute("SELECT crc FROM row WHERE id = 7").fetchall()
        sql.execute("UPDATE row SET crc = ? WHERE id = 7", (crc ^ 1,))
        sql.commit()
        sql.close()
        spoil_tree(state, no_tree)

    await asyncio.to_thread(damage)
    async with running(state, CLOUD, metrics=metrics) as outbox:
        await salvaged(metrics)
        await outbox.flush()
        rows = await drain(outbox.begin(CLOUD))
        assert value(metrics, "lost_readings_total", reason="damaged") == 1
    (gap,) = (row.gap for row in rows if row.gap is not None)
    assert (gap.row_first, gap.row_last, gap.readings, gap.reading_class) == (7, 7, 1, "event")
    assert EVERYBODY == "*"
    assert len(rows) == 80
