"""A full disk and damaged rows: what can be saved is saved, what cannot is counted, the rest goes on."""

import asyncio
import random
import sqlite3
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.errors import OutboxFullError
from edge_agent.metrics import Metrics
from edge_agent.model import Column, DataType, ReadingBatch
from edge_agent.outbox.inspect import show
from edge_agent.outbox.rows import Stream
from edge_agent.outbox.store import FILE_NAME, Outbox
from edge_agent.outbox.tables import TABLES_NAME
from edge_agent.testing.eventually import eventually
from tests.model.outbox_kit import CLOUD, PLANT, T0_NS, account, batch, drain, fill, numbers, opened, table

PRESS = table("press-01", "a", "b")
CNC = table("cnc-07")
WIDE = table("wide", *(f"p{i}" for i in range(500)))


async def pages(outbox: Outbox, count: int) -> None:
    """Let the database have ``count`` pages more than now; fewer than none means no limit."""

    def limit() -> None:
        assert outbox._keeper.file is not None
        used = outbox._keeper.file._sql.execute("PRAGMA page_count").fetchone()[0]
        outbox._keeper.file._sql.execute(f"PRAGMA max_page_count = {used + count if count >= 0 else 2**30}")

    await asyncio.get_running_loop().run_in_executor(outbox._thread, limit)


async def test_a_full_disk_recovers_when_there_is_space(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, commit_interval_s=0.01) as outbox, asyncio.TaskGroup() as group:
        await fill(outbox, PRESS, 1, 2)
        await pages(outbox, 0)
        running = group.create_task(outbox.run())
        for number in range(3, 13):
            await outbox.append(WIDE, batch(WIDE, number * 10**15, range(500)))
        await eventually(lambda: "no space" in str(outbox.summary()["trouble"]))
        with pytest.raises(OutboxFullError):
            await outbox.flush()
        assert numbers(await drain(outbox.begin(CLOUD), confirm=False)) == [1, 2], "what is on disk can be sent"
        await pages(outbox, -1)
        await eventually(lambda: outbox.summary()["buffered"] == 0)
        running.cancel()
    async with opened(tmp_path, CLOUD) as outbox:
        expected = [1, 2, *(number * 10**15 for number in range(3, 13))]
        assert numbers(await drain(outbox.begin(CLOUD))) == expected


def flip_body(sql: sqlite3.Connection) -> None:
    sql.execute("UPDATE row SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE id = 2")


def lose_table(sql: sqlite3.Connection) -> None:
    sql.execute("DELETE FROM point_table WHERE version = (SELECT table_version FROM row WHERE id = 2)")


def spoil_table(sql: sqlite3.Connection) -> None:
    sql.execute(
        "UPDATE point_table SET content = '[]' WHERE version = (SELECT table_version FROM row WHERE id = 2)"
    )


def swap_device(sql: sqlite3.Connection) -> None:
    sql.execute("UPDATE row SET table_version = (SELECT table_version FROM row WHERE id = 1) WHERE id = 2")


def unknown_codec(sql: sqlite3.Connection) -> None:
    sql.execute("UPDATE row SET codec = 99 WHERE id = 2")


def unknown_class(sql: sqlite3.Connection) -> None:
    sql.execute("UPDATE row SET class = 'gossip' WHERE id = 2")


def wrong_count(sql: sqlite3.Connection) -> None:
    sql.execute("UPDATE row SET n = 17 WHERE id = 2")


@pytest.mark.parametrize(
    "damage",
    [flip_body, lose_table, spoil_table, swap_device, unknown_codec, unknown_class, wrong_count],
)
async def test_a_damaged_row_is_counted_and_the_log_moves_on(
    tmp_path: Path, damage: Callable[[sqlite3.Connection], None], caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, 1)
        await fill(outbox, CNC, 2)
        await fill(outbox, PRESS, 3)

    def spoil() -> list[dict[str, object]]:
        connection = sqlite3.connect(tmp_path / FILE_NAME)
        damage(connection)
        connection.commit()
        connection.close()
        (tmp_path / TABLES_NAME).unlink()
        return show(tmp_path / FILE_NAME)

    first, second, third = await asyncio.to_thread(spoil)
    assert "damaged" in second
    assert "readings" in first
    assert "readings" in third
    async with opened(tmp_path, CLOUD, PLANT, metrics=metrics) as outbox:
        assert numbers(await drain(outbox.begin(CLOUD))) == [1, 3]
        assert numbers(await drain(outbox.begin(PLANT))) == [1, 3]
        await outbox.flush()
        assert (outbox.summary()["rows"], outbox.summary()["damaged_rows"]) == (1, 1)
        for publisher in (CLOUD, PLANT):
            (gap,) = [row.gap for row in await drain(outbox.begin(publisher))]
            assert gap is not None
            assert (gap.reason, gap.row_first, gap.row_last) == ("damaged", 2, 2)
            assert account(outbox, publisher) == {"committed": 3, "confirmed": 2, "dropped": 1, "pending": 0}
        await outbox.flush()
        assert outbox.summary()["rows"] == 0
    assert metrics.registry.get_sample_value("edge_agent_outbox_damaged_rows_total") == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_nothing_but_damaged_rows_is_not_the_end_of_the_log(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, *range(1, 30))
        script = "UPDATE row SET crc = 0 WHERE id < 25"
        assert outbox._keeper.file is not None
        await asyncio.get_running_loop().run_in_executor(outbox._thread, outbox._keeper.file._sql.execute, script)
        rows = await outbox.begin(CLOUD).lease(Stream.REPLAY, max_rows=4, max_bytes=10_000)
        assert numbers(rows) == [25, 26, 27, 28]


async def test_a_damaged_page_costs_the_rows_on_it_only(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        for number in range(1, 21):
            of, noise = table(), random.Random(number).randbytes(2000)  # a table of its own, so a row of its own
            column = Column(DataType.BYTES, array("H", [0]), [noise])
            await outbox.append(of, ReadingBatch(of.device, T0_NS + number, (column,)))
        await outbox.flush()

    def spoil() -> None:
        connection = sqlite3.connect(tmp_path / FILE_NAME)
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'row'").fetchone()[0]
        connection.close()
        path = tmp_path / FILE_NAME
        data = bytearray(path.read_bytes())
        header = data[(root - 1) * 4096 :]
        assert header[0] == 0x05, "the root is an interior page (file format §1.6)"
        cell = int.from_bytes(header[12:14], "big")
        leaf = int.from_bytes(header[cell : cell + 4], "big")
        data[(leaf - 1) * 4096 : (leaf - 1) * 4096 + 64] = b"\xff" * 64
        path.write_bytes(data)

    await asyncio.to_thread(spoil)
    metrics = Metrics()
    opening = opened(tmp_path, CLOUD, metrics=metrics, commit_interval_s=0.01)
    async with opening as outbox, asyncio.TaskGroup() as group:
        running = group.create_task(outbox.run())
        cursor, seen = outbox.begin(CLOUD), list[int]()

        async def is_through() -> bool:
            seen.extend(numbers([row for row in await drain(cursor) if row.gap is None]))
            return metrics.registry.get_sample_value("edge_agent_outbox_salvage_progress") == 1 and bool(seen)

        async with asyncio.timeout(10):
            while not await is_through():  # noqa: ASYNC110 - what is waited for has to be drained meanwhile
                await asyncio.sleep(0.01)
        seen += numbers([row for row in await drain(cursor) if row.gap is None])
        running.cancel()
    assert 0 < 20 - len(seen) < 20
    assert sorted(seen) == list(range(21 - len(seen), 21))
