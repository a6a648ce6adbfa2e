"""Readings that were fetched after an outage keep their mark on the way to every publisher."""

from dataclasses import replace
from pathlib import Path

from edge_agent.model import ReadingClass
from edge_agent.outbox.rows import Row, Stream
from tests.model.outbox_kit import CLOUD, PLANT, batch, drain, numbers, opened, table

PRESS = table("press-01", "a", e=ReadingClass.EVENT)


def marks(rows: list[Row]) -> list[tuple[bool, list[int]]]:
    return [(row.historical, numbers([row])) for row in rows]


async def test_live_and_fetched_readings_are_rows_of_their_own_and_marked_live_and_after_a_restart(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        cursor = outbox.begin(CLOUD)
        await outbox.append(PRESS, batch(PRESS, 1))
        await outbox.append(PRESS, replace(batch(PRESS, 2, (0, 1)), historical=True))
        await outbox.append(PRESS, batch(PRESS, 3))
        await outbox.flush()
        live = await drain(cursor, Stream.LIVE)
        assert sorted(marks(live)) == [(False, [1, 3]), (True, [2]), (True, [2])]
        cursor.close()
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        again = outbox.begin(PLANT)
        assert all(row.historical for row in await drain(again))
        again.close()


async def test_the_mark_is_read_back_from_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, commit_bytes=1) as outbox:
        cursor = outbox.begin(CLOUD)
        for number in range(40):  # more than stays decoded in memory
            one = batch(PRESS, number, (0,) * 100)
            await outbox.append(PRESS, replace(one, historical=number % 2 == 1))
            await outbox.flush()
        rows = await drain(cursor, Stream.LIVE)
        assert [(row.historical, numbers([row])) for row in rows] == [(n % 2 == 1, [n]) for n in range(40)]
        cursor.close()


async def test_a_row_that_is_too_large_is_split_with_its_mark(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        cursor = outbox.begin(CLOUD)
        await outbox.append(PRESS, replace(batch(PRESS, 1, (0,) * 9000), historical=True))
        await outbox.flush()
        rows = await drain(cursor, Stream.LIVE)
        assert len(rows) == 3
        assert all(row.historical for row in rows)
        cursor.close()
