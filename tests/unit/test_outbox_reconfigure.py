"""Other publishers and other bounds while the outbox is open."""

from dataclasses import replace
from pathlib import Path

from edge_agent.outbox.rows import Stream
from tests.model.outbox_kit import CLOUD, PLANT, account, batch, drain, fill, numbers, opened, table

PRESS = table("press-01", "a")


async def test_a_publisher_comes_and_goes_and_the_session_of_another_does_not_notice(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        cursor = outbox.begin(CLOUD)
        await fill(outbox, PRESS, 1, 2)
        first = await drain(cursor, Stream.LIVE, confirm=False)
        cursor.confirm([first[0].id])
        await outbox.append(PRESS, batch(PRESS, 3))  # in memory only
        await outbox.reconfigure(outbox._options, [CLOUD, PLANT])
        await outbox.flush()
        other = outbox.begin(PLANT)
        assert numbers(await drain(other, Stream.REPLAY, confirm=False)) == [1, 2, 3]
        assert numbers(await drain(cursor, Stream.REPLAY) + await drain(cursor, Stream.LIVE)) == [3]
        await fill(outbox, PRESS, 4)
        assert numbers(await drain(cursor, Stream.LIVE)) == [4]
        assert account(outbox, PLANT)["pending"] == 4
        cursor.confirm(range(1, 5))
        other.close()
        await outbox.reconfigure(outbox._options, [CLOUD])
        await outbox.flush()
        assert outbox.summary()["rows"] == 0, "one that is configured no longer holds no row back"
        assert account(outbox, CLOUD)["confirmed"] == 4


async def test_a_publisher_that_starts_now_gets_nothing_of_before(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1, 2)
        await outbox.reconfigure(outbox._options, [CLOUD, PLANT], [PLANT])
        await fill(outbox, PRESS, 3)
        assert numbers(await drain(outbox.begin(PLANT), Stream.REPLAY)) == [3]


async def test_other_bounds_count_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.reconfigure(replace(outbox._options, max_bytes=123 * 2**20), [CLOUD])
        assert outbox.summary()["max_bytes"] == 123 * 2**20
        assert outbox._metrics.outbox_limit._value.get() == 123 * 2**20
