"""Rows that a broker refused for what they are: aside, counted, bounded, and back again when somebody says so."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.cli.commands import app
from edge_agent.errors import OutboxError
from edge_agent.metrics import Metrics
from edge_agent.outbox import inspect
from edge_agent.outbox.offline import change_dead_letters
from edge_agent.outbox.rows import Reason, Row
from edge_agent.outbox.store import FILE_NAME, Outbox
from tests.model.outbox_kit import CLOUD, PLANT, drain, fill, named, numbers, opened, table

PRESS = table("press-01", "a", "b")


def account(outbox: Outbox, publisher: str = CLOUD) -> tuple[int, int, int, int]:
    one: Any = outbox.summary()["accounts"]
    numbers = one[publisher]
    return numbers["committed"], numbers["confirmed"], numbers["dropped"], numbers["pending"]


async def letters(directory: Path) -> list[dict[str, Any]]:
    return await asyncio.to_thread(inspect.dead_letters, directory / FILE_NAME)


async def filled(directory: Path) -> None:
    """Make row 2 of four a dead letter; the others are confirmed."""
    async with opened(directory, CLOUD) as outbox:
        await fill(outbox, PRESS, 1, 2, 3, 4)
        cursor = outbox.begin(CLOUD)
        await drain(cursor, confirm=False)
        cursor.set_aside([2], "payload format invalid (0x99)")
        cursor.confirm([1, 3, 4])
        await outbox.flush()


async def test_the_log_moves_on_and_the_row_is_kept_aside(tmp_path: Path) -> None:
    await filled(tmp_path)
    (letter,) = await letters(tmp_path)
    assert (letter["publisher"], letter["row"], letter["readings"]) == (CLOUD, 2, 1)
    assert letter["reason"] == "payload format invalid (0x99)"
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.flush()
        assert await drain(outbox.begin(CLOUD)) == []
        assert outbox.summary()["rows"] == 0
        assert account(outbox) == (4, 3, 0, 1), "still owed, and accounted for"
    shown = await asyncio.to_thread(inspect.dead_letter, tmp_path / FILE_NAME, letter["id"])
    assert [(reading["point"], reading["value"]) for reading in shown["readings"]] == [("a", 2)]


async def test_another_publisher_gets_the_row_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, 1, 2)
        cursor = outbox.begin(CLOUD)
        await drain(cursor, confirm=False)
        cursor.set_aside([1, 2], "no")
        await outbox.flush()
        assert numbers(await drain(outbox.begin(PLANT))) == [1, 2]
        await outbox.flush()
        assert account(outbox, PLANT) == (2, 2, 0, 0)
        assert account(outbox) == (2, 0, 0, 2)


async def test_a_commit_that_fails_sets_aside_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1)
        cursor = outbox.begin(CLOUD)
        await drain(cursor, confirm=False)
        cursor.set_aside([1], "no")
        with monkeypatch.context() as patch:
            patch.setattr(outbox._keeper.file, "write", _fail)
            with pytest.raises(OutboxError):
                await outbox.flush()
        assert await letters(tmp_path) == []
        await outbox.flush()
        assert [letter["row"] for letter in await letters(tmp_path)] == [1]


def _fail(*_: object) -> None:
    raise OutboxError("busy")


async def test_a_dead_letter_that_is_put_back_is_delivered_to_its_publisher_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, 1, 2, 3)
        cursor = outbox.begin(CLOUD)
        rows = await drain(cursor, confirm=False)
        cursor.set_aside([2], "no")
        cursor.confirm([1, 3])
        await drain(outbox.begin(PLANT))
        await outbox.flush()
        await fill(outbox, PRESS, 4)
    path = tmp_path / FILE_NAME
    assert await asyncio.to_thread(change_dead_letters, path, [1, 99], put_back=True, now_ns=0) == 1
    assert await letters(tmp_path) == []
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        back = await drain(outbox.begin(CLOUD))
        assert numbers(back) == [2, 4]
        assert identity(back[0]) == identity(rows[1])
        assert numbers(await drain(outbox.begin(PLANT))) == [4]
        await outbox.flush()
        assert account(outbox) == (4, 4, 0, 0)
        assert account(outbox, PLANT) == (4, 4, 0, 0)


def identity(row: Row) -> tuple[str, int, list[tuple[str, object]]]:
    return row.epoch, row.id, named([row])


async def test_one_that_is_dropped_is_a_loss_that_its_publisher_is_told_of(tmp_path: Path) -> None:
    await filled(tmp_path)
    path = tmp_path / FILE_NAME
    assert await asyncio.to_thread(change_dead_letters, path, None, put_back=False, now_ns=0) == 1
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.flush()
        await fill(outbox, PRESS, 5)
        rows = await drain(outbox.begin(CLOUD))
        gap = next(row.gap for row in rows if row.gap is not None)
        assert (gap.reason, gap.readings, gap.row_first) == (Reason.REFUSED, 1, 2)
        assert numbers(rows) == [5]
        await outbox.flush()
        assert account(outbox) == (5, 4, 1, 0)


async def test_where_there_are_too_many_the_oldest_give_way_and_are_told_of(tmp_path: Path) -> None:
    metrics = Metrics()
    async with opened(tmp_path, CLOUD, metrics=metrics, dead_letter_bytes=1000) as outbox:
        await fill(outbox, PRESS, *range(1, 11))
        cursor = outbox.begin(CLOUD)
        await drain(cursor, confirm=False)
        cursor.set_aside(range(1, 11), "no")
        await outbox.flush()
        kept = [letter["row"] for letter in await letters(tmp_path)]
        assert 1 <= len(kept) < 10
        assert kept == list(range(11 - len(kept), 11)), "the newest stay"
        assert account(outbox) == (10, 0, 10 - len(kept), len(kept))
        gaps = [row.gap for row in await drain(cursor, confirm=False) if row.gap is not None]
        gaps += [row.gap for row in await drain(outbox.begin(CLOUD), confirm=False) if row.gap is not None]
        assert sum(gap.readings for gap in gaps) == 10 - len(kept)


async def test_beside_a_running_agent_one_may_look_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD):
        with pytest.raises(OutboxError, match="is in use by process"):
            await asyncio.to_thread(change_dead_letters, tmp_path / FILE_NAME, None, put_back=True, now_ns=0)
        assert await letters(tmp_path) == []
    with pytest.raises(OutboxError, match="no outbox"):
        await asyncio.to_thread(change_dead_letters, tmp_path / "x.db", None, put_back=True, now_ns=0)


def test_the_commands(tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path))
    place, runner = str(tmp_path), CliRunner()
    listed = runner.invoke(app, ["outbox", "dead-letter", "list", place])
    assert listed.exit_code == 0
    assert "payload format invalid" in listed.stdout
    assert '"point": "a"' in runner.invoke(app, ["outbox", "dead-letter", "show", place, "1"]).stdout
    assert runner.invoke(app, ["outbox", "dead-letter", "retry", place]).exit_code == 2
    assert runner.invoke(app, ["outbox", "dead-letter", "retry", place, "7"]).exit_code == 1
    assert "1 dead letter put back" in runner.invoke(app, ["outbox", "dead-letter", "retry", place, "1"]).stdout
    assert "0 dead letters dropped" in runner.invoke(app, ["outbox", "dead-letter", "drop", place, "--all"]).stdout
    assert runner.invoke(app, ["outbox", "dead-letter", "list", place, "--json"]).stdout.strip() == "[]"
