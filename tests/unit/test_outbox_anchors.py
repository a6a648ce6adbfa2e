"""Times from before the clock was set are right when they are handed out after; nothing else changes."""

import asyncio
import sqlite3
from array import array
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from edge_agent.clock import Anchor
from edge_agent.model import Column, DataType, ReadingBatch
from edge_agent.outbox.anchors import MAX_ANCHORS, Anchors
from edge_agent.outbox.rows import Stream
from edge_agent.outbox.store import FILE_NAME
from edge_agent.testing.fakes import FakeClock
from tests.model.outbox_kit import CLOUD, T0_NS, batch, drain, fill, numbers, opened, table

PRESS = table("press-01", "a", "b")
S = 1_000_000_000
WRONG = Anchor("boot", 5 * S, 0, is_synced=False)
RIGHT = Anchor("boot", 9 * S, T0_NS, is_synced=True)
SHIFT_NS = RIGHT.offset_ns - WRONG.offset_ns


class UnsetClock(FakeClock):
    """A clock that was not set, until it is."""

    wrong: Anchor | None = WRONG
    right: Anchor | None = None

    def anchor_of(self, _time_ns: int) -> Anchor | None:
        return self.wrong

    @property
    def synced(self) -> Anchor | None:
        return self.right

    def set(self) -> None:
        self.wrong, self.right = None, RIGHT


def early(number: int) -> ReadingBatch:
    """Return a batch of 1970."""
    return replace(batch(PRESS, number), time_ns=number * S)


async def test_what_was_taken_before_the_clock_was_set_gets_its_true_time_after(tmp_path: Path) -> None:
    clock = UnsetClock()
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        cursor = outbox.begin(CLOUD)
        await outbox.append(PRESS, early(1))
        await outbox.flush()
        (row,) = await cursor.lease(Stream.LIVE, max_rows=1, max_bytes=10_000)
        assert row.t_first_ns == S, "nobody knows better yet"
        clock.set()
        await outbox.append(PRESS, batch(PRESS, 2))
        await outbox.flush()
        clock.wrong = WRONG  # taken before, handed in after
        await outbox.append(PRESS, early(3))
        await outbox.flush()
        rows = await cursor.lease(Stream.LIVE, max_rows=9, max_bytes=10_000)
        assert [row.t_first_ns for row in rows] == [T0_NS + 2, 3 * S + SHIFT_NS]
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        rows = await drain(outbox.begin(CLOUD))
        assert [row.t_first_ns for row in rows] == [S + SHIFT_NS, T0_NS + 2, 3 * S + SHIFT_NS]
        assert [row.t_last_ns for row in rows] == [row.t_first_ns for row in rows]
        assert [row.batches[0].time_ns for row in rows] == [row.t_first_ns for row in rows]
        assert [row.id for row in rows] == [1, 2, 3], "the order is that of acquisition"


async def test_another_process_of_the_same_boot_tells_and_another_boot_does_not(tmp_path: Path) -> None:
    clock = UnsetClock()
    other = Anchor("before", 5 * S, 0, is_synced=False)
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        await outbox.append(PRESS, early(1))
        clock.wrong = other
        await outbox.append(PRESS, early(2))
        await outbox.flush()
    clock.set()
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        await outbox.flush()
        await fill(outbox, PRESS, 3)
        rows = await drain(outbox.begin(CLOUD))
    assert [row.t_first_ns for row in rows] == [S + SHIFT_NS, 2 * S, T0_NS + 3]


async def test_a_row_holds_readings_of_one_anchor(tmp_path: Path) -> None:
    clock = UnsetClock()
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        await outbox.append(PRESS, early(1))
        await outbox.append(PRESS, early(2))
        clock.set()
        await outbox.append(PRESS, batch(PRESS, 3))
        await outbox.flush()
        rows = await drain(outbox.begin(CLOUD))
    assert [len(row.batches) for row in rows] == [2, 1]


async def test_steps_of_the_wall_clock_lose_reorder_and_expire_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, clock=clock, max_age_s=600.0) as outbox:
        for number, step_s in enumerate((0, 3600, -7200, 1e9, -1.79e9, 1.79e9), start=1):
            clock.step(step_s)
            await clock.advance(60)
            await fill(outbox, PRESS, number)
        assert numbers(await drain(outbox.begin(CLOUD))) == [1, 2, 3, 4, 5, 6]


async def test_the_time_of_a_source_that_was_right_stays(tmp_path: Path) -> None:
    clock = UnsetClock()
    offsets_ns = array("q", [SHIFT_NS - 5, -7])
    column = Column(DataType.INT64, array("H", [0, 1]), array("q", [1, 2]), None, offsets_ns)
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        await outbox.append(PRESS, ReadingBatch(PRESS.device, S, (column,)))
        clock.set()
        await outbox.flush()
        ((row,),) = [await drain(outbox.begin(CLOUD))]
    (shifted,) = row.batches[0].columns
    assert shifted.offsets_ns == array("q", [-5, -7])
    assert (row.t_first_ns, row.t_last_ns) == (S + SHIFT_NS - 7, S + SHIFT_NS - 5)
    assert column.offsets_ns == offsets_ns, "the row in memory is not touched"


async def test_a_servers_time_that_was_right_stays_beside_a_sources_that_was_not(tmp_path: Path) -> None:
    """Each of the two is what its clock said: as right as ours, or right from the beginning."""
    clock = UnsetClock()
    own, server = [-7, SHIFT_NS - 9, SHIFT_NS - 9, -7], [-3, SHIFT_NS - 5, -3, SHIFT_NS - 5]
    lags_ns = array("q", [later - earlier for earlier, later in zip(own, server, strict=True)])
    column = Column(DataType.INT64, array("H", [0] * 4), array("q", range(4)), None, array("q", own), lags_ns)
    alone = Column(DataType.INT64, array("H", [1]), array("q", [4]), lags_ns=array("q", [SHIFT_NS - 5]))
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        await outbox.append(PRESS, ReadingBatch(PRESS.device, S, (column, alone)))
        clock.set()
        await outbox.flush()
        ((row,),) = [await drain(outbox.begin(CLOUD))]
    shifted, moved = row.batches[0].columns
    assert row.batches[0].time_ns == S + SHIFT_NS
    assert (shifted.offsets_ns, shifted.lags_ns) == (array("q", [-7, -9, -9, -7]), array("q", [4, 4, 6, 2]))
    assert (moved.offsets_ns, moved.lags_ns) == (None, array("q", [-5]))
    assert (row.t_first_ns, row.t_last_ns) == (S + SHIFT_NS - 9, S + SHIFT_NS)


def test_a_clock_that_was_right_all_along_moves_nothing() -> None:
    anchors = Anchors()
    number = anchors.number_of(Anchor("boot", 0, T0_NS, is_synced=False))
    anchors.note(Anchor("boot", S, T0_NS + S + 900_000_000, is_synced=True))
    assert anchors.shift_ns(number) == 0
    assert anchors.shift_ns(None) == 0
    assert anchors.shift_ns(99) == 0


def anchors_in(directory: Path) -> list[int]:
    with closing(sqlite3.connect(f"file:{directory / FILE_NAME}?mode=ro", uri=True)) as connection:
        return [number for (number,) in connection.execute("SELECT id FROM anchor")]


async def test_the_file_keeps_the_newest_anchors(tmp_path: Path) -> None:
    clock = UnsetClock()
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        for number in range(MAX_ANCHORS + 50):
            clock.wrong = Anchor("boot", 0, number, is_synced=False)
            await outbox.append(PRESS, early(1))
        await outbox.flush()
        assert len(await asyncio.to_thread(anchors_in, tmp_path)) == MAX_ANCHORS
