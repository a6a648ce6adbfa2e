"""A start knows which rows are there without looking at each, whatever was let go or given up before."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.model import PublisherId
from edge_agent.outbox import kept as module
from edge_agent.outbox.kept import scan_kept
from edge_agent.outbox.store import FILE_NAME
from tests.model.outbox_kit import CLOUD, PLANT, drain, fill, opened, table

PRESS = table("press-01", "a", "b")


async def rows_of(directory: Path, *publishers: PublisherId) -> list[int]:
    async with opened(directory, *publishers) as outbox:
        return [row_id for a, b in outbox._ledger.kept for row_id in range(a, b + 1)]


def scanned(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as sql:
        return [row_id for a, b in scan_kept(sql, 100) for row_id in range(a, b + 1)]


def forbid_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(*_: object) -> None:
        raise AssertionError("looked at each row")

    monkeypatch.setattr(module, "scan_kept", scan)
    monkeypatch.setattr("edge_agent.outbox.sqlite.scan_kept", scan)


async def test_holes_of_every_kind_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, *range(1, 21))
        for publisher in (CLOUD, PLANT):
            cursor = outbox.begin(publisher)
            await drain(cursor, confirm=False)
            cursor.confirm([3, 4, 5, 9])
        outbox.begin(CLOUD).confirm([1, 20])
        await outbox.flush()
        outbox._ledger.give_up([12, 13])
        await outbox.flush()
        await outbox.flush()
        expected = [row_id for a, b in outbox._ledger.kept for row_id in range(a, b + 1)]
    assert not {3, 4, 5, 9, 12, 13} & set(expected)
    there = await asyncio.to_thread(scanned, tmp_path / FILE_NAME)
    with monkeypatch.context() as patch:
        forbid_scans(patch)
        assert await rows_of(tmp_path, CLOUD, PLANT) == there
    assert await rows_of(tmp_path, CLOUD) == there, "publishers have changed: looked at each"
    there = [row_id for row_id in there if row_id not in {1, 20}]  # all that is left of them have these
    with monkeypatch.context() as patch:
        forbid_scans(patch)
        assert await rows_of(tmp_path, CLOUD) == there
    new = PublisherId("new")
    async with opened(tmp_path, CLOUD, new) as outbox:
        assert len(await drain(outbox.begin(new), confirm=False)) == len(there)
        assert outbox.summary()["damaged_rows"] == 0
