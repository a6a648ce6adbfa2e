"""What a device lost is told as what the outbox loses: in the ledger, in a gap record, in figures."""

import json
from asyncio import to_thread
from pathlib import Path

from edge_agent.metrics import Metrics
from edge_agent.model import LossReason, Lost, ReadingClass
from edge_agent.outbox import inspect
from edge_agent.outbox.losses import MAX_NAMED_POINTS, at_device
from edge_agent.outbox.rows import Gap, Reason
from edge_agent.outbox.store import FILE_NAME, Outbox
from edge_agent.publish.json_encoder import encode_gap
from edge_agent.testing.fakes import FakeClock
from tests.model.outbox_kit import CLOUD, T0_NS, account, drain, opened, table

CNC = table("cnc-07", "speed", "load", door=ReadingClass.ALARM)


def note(outbox: Outbox, *lost: Lost) -> None:
    for one in lost:
        outbox.note_losses(at_device(CNC, one, outbox.epoch))


def overflow(points: tuple[int, ...], first: int, last: int, readings: int) -> Lost:
    return Lost(points, T0_NS + first, T0_NS + last, LossReason.OVERFLOW, readings)


async def test_a_gap_record_names_points_times_reason_and_the_least_that_is_missing(tmp_path: Path) -> None:
    metrics = Metrics()
    async with opened(tmp_path, CLOUD, metrics=metrics) as outbox:
        note(outbox, overflow((0,), 5, 9, 1), overflow((1, 0), 1, 3, 2))
        await outbox.flush()
        (row,) = await drain(outbox.begin(CLOUD))
        assert row.gap == Gap(
            "trend", 0, 3, T0_NS + 1, T0_NS + 9, Reason.OVERFLOW, outbox.epoch, 0, 0, ("speed", "load")
        )
        message = json.loads(encode_gap("gw-01", None, row))
        assert account(outbox, CLOUD)["dropped"] == 0, "it was never owed"
    assert (message["reason"], message["readings"], message["rows"]) == ("overflow", 3, 0)
    assert message["points"] == ["speed", "load"]
    assert "missing" not in message
    lost = metrics.registry.get_sample_value("edge_agent_outbox_lost_readings_total", {"reason": "overflow"})
    assert lost == 3


async def test_losses_within_a_minute_are_one_record_that_names_all_points(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, clock=clock) as outbox:
        for second in range(90):
            note(outbox, overflow((second % 2,), second, second + 1, 1))
            await outbox.flush()
            await clock.advance(1)
        gaps = [row.gap for row in await drain(outbox.begin(CLOUD)) if row.gap is not None]
    assert [(gap.readings, sorted(gap.points)) for gap in gaps] == [(1, ["speed"]), (60, ["load", "speed"])]
    (*_, entry) = await to_thread(inspect.losses, tmp_path / FILE_NAME)
    assert (entry["readings"], sorted(entry["points"])) == (29, ["load", "speed"])


async def test_an_outage_of_unknown_extent_is_told_for_each_class(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        note(outbox, Lost((0, 1, 2), T0_NS, T0_NS + 7, LossReason.OUTAGE))
        await outbox.flush()
        gaps = [row.gap for row in await drain(outbox.begin(CLOUD)) if row.gap is not None]
    assert {(gap.reading_class, gap.readings, gap.points) for gap in gaps} == {
        ("trend", 0, ("speed", "load")),
        ("alarm", 0, ("door",)),
    }


def test_what_is_shared_out_between_classes_stays_the_same_sum() -> None:
    shares = [
        [loss.gap.readings for loss in at_device(CNC, overflow((0, 1, 2), 0, 1, readings), "e")]
        for readings in (0, 1, 2, 3, 9)
    ]
    assert shares == [[0, 0], [1, 0], [2, 0], [2, 1], [2, 7]]


async def test_more_points_than_can_be_named_are_any(tmp_path: Path) -> None:
    many = table("press-01", *(f"p{i}" for i in range(MAX_NAMED_POINTS + 1)))
    lost = Lost(tuple(range(MAX_NAMED_POINTS)), T0_NS, T0_NS, LossReason.MISSED, 1)
    async with opened(tmp_path, CLOUD) as outbox:
        (loss,) = at_device(many, lost, outbox.epoch)
        assert len(loss.gap.points) == MAX_NAMED_POINTS
        outbox.note_losses(
            [loss, *at_device(many, Lost((100,), T0_NS, T0_NS, LossReason.MISSED, 1), outbox.epoch)]
        )
        await outbox.flush()
        (row,) = await drain(outbox.begin(CLOUD))
    assert row.gap is not None
    assert (row.gap.readings, row.gap.points) == (2, ())


async def test_what_was_noted_before_a_crash_is_told_after_it(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        note(outbox, overflow((0,), 1, 1, 1))
        await outbox.flush()  # told at once
        note(outbox, overflow((0,), 2, 2, 1))
        await outbox.flush()  # waits for the minute
    async with opened(tmp_path, CLOUD) as outbox:
        gaps = [row.gap for row in await drain(outbox.begin(CLOUD)) if row.gap is not None]
    assert [(gap.readings, gap.points) for gap in gaps] == [(1, ("speed",)), (1, ("speed",))]
