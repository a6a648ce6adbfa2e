"""What the agent and its publishers may rely on: order, streams, acknowledgements, point tables, restarts."""

import asyncio
import os
import stat
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.errors import OutboxError
from edge_agent.metrics import Metrics
from edge_agent.model import Column, DataType, DeviceId, PublisherId, ReadingBatch, ReadingClass
from edge_agent.outbox.rows import Stream
from edge_agent.outbox.store import FILE_NAME
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeClock
from tests.model.outbox_kit import CLOUD, PLANT, T0_NS, account, batch, drain, fill, named, numbers, opened, table

PRESS = table("press-01", "a", "b")
CNC = table("cnc-07", "a")


async def test_rows_come_back_as_they_were_appended(tmp_path: Path) -> None:
    mixed = table("press-01", "a", door=ReadingClass.EVENT)
    times_ns = (array("q", [-7]), array("q", [9]))
    columns = (
        Column(DataType.FLOAT64, array("H", [0]), array("d", [1.5]), array("I", [0x40000000]), *times_ns),
        Column(DataType.STRING, array("H", [1]), ["开"]),
    )
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.append(mixed, ReadingBatch(mixed.device, T0_NS, columns))
        await outbox.flush()
    async with opened(tmp_path, CLOUD) as outbox:
        event, trend = await drain(outbox.begin(CLOUD))
    assert (event.id, trend.id) == (1, 2)
    assert (event.reading_class, trend.reading_class) == (ReadingClass.EVENT, ReadingClass.TREND)
    assert (event.epoch, event.historical, event.count) == (outbox.epoch, True, 1)
    assert (event.table.names, event.table.device) == (mixed.names, mixed.device)
    assert named([event, trend]) == [("door", "开"), ("a", 1.5)]
    assert trend.batches[0].columns[0].statuses == array("I", [0x40000000])
    assert (trend.batches[0].columns[0].offsets_ns, trend.batches[0].columns[0].lags_ns) == times_ns
    assert (trend.t_first_ns, trend.t_last_ns) == (T0_NS - 7, T0_NS - 7), "of the readings, not of a server"
    assert (event.t_first_ns, event.t_last_ns) == (T0_NS, T0_NS)
    assert event.body_bytes > 0


async def test_the_order_of_a_device_holds_in_each_stream(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, *range(1, 10))
        cursor = outbox.begin(CLOUD)
        await fill(outbox, PRESS, *range(10, 20))
        live = await drain(cursor, Stream.LIVE)
        replay = await drain(cursor, Stream.REPLAY)
        assert numbers(replay) == list(range(1, 10))
        assert numbers(live) == list(range(10, 20))
        assert [row.historical for row in replay + live] == [True] * 9 + [False] * 10


async def test_live_rows_are_read_from_disk_once_they_have_left_memory(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, commit_bytes=40) as outbox:
        cursor = outbox.begin(CLOUD)
        await fill(outbox, PRESS, *range(1, 30))
        rows = await drain(cursor, Stream.LIVE)
    assert numbers(rows) == list(range(1, 30))
    assert not any(row.historical for row in rows)
    tables = {id(row.table) for row in rows}
    assert len(tables) == 2, "some from memory under the table itself, some from disk under the stored one"


async def test_a_lease_is_bounded_by_rows_and_by_bytes_but_never_empty(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        before = outbox.begin(CLOUD)
        await fill(outbox, PRESS, *range(1, 9))
        for cursor, stream in ((before, Stream.LIVE), (outbox.begin(CLOUD), Stream.REPLAY)):
            assert numbers(await cursor.lease(stream, max_rows=3, max_bytes=10_000)) == [1, 2, 3]
            (row,) = await cursor.lease(stream, max_rows=3, max_bytes=1)
            assert numbers([row]) == [4]
            two = await cursor.lease(stream, max_rows=3, max_bytes=2 * row.body_bytes)
            assert numbers(two) == [5, 6]


async def test_what_is_unconfirmed_is_leased_again_by_the_next_session(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        first = outbox.begin(CLOUD)
        await fill(outbox, PRESS, 1, 2, 3, 4)
        rows = await drain(first, Stream.LIVE, confirm=False)
        first.confirm([rows[0].id, rows[2].id])
        first.close()
        first.close()
        assert numbers(await drain(outbox.begin(CLOUD))) == [2, 4]


@pytest.mark.parametrize("dead", [CLOUD, PLANT])
async def test_a_dead_publisher_delays_nobody_and_loses_nothing(tmp_path: Path, dead: PublisherId) -> None:
    alive = PLANT if dead == CLOUD else CLOUD
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, 1, 2, 3)
        assert numbers(await drain(outbox.begin(alive))) == [1, 2, 3]
        await outbox.flush()
        assert outbox.summary()["pending"] == {alive: 0, dead: 3}
        assert numbers(await drain(outbox.begin(dead))) == [1, 2, 3]
        await outbox.flush()
        assert outbox.summary()["rows"] == 0


async def test_what_is_live_in_one_session_is_replay_in_another(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1)
        first = outbox.begin(CLOUD)
        await fill(outbox, PRESS, 2)
        second = outbox.begin(CLOUD)
        replay, live = await drain(first, confirm=False), await drain(first, Stream.LIVE, confirm=False)
        assert (numbers(replay), numbers(live)) == ([1], [2])
        rows = await drain(second, confirm=False)
        assert [(row.id, row.historical) for row in rows] == [(1, True), (2, True)]
        assert await drain(second, Stream.LIVE) == []


async def test_acknowledgements_are_durable_with_the_next_commit(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, 1, 2, 3)
        outbox.begin(CLOUD).confirm([1, 3])
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        assert numbers(await drain(outbox.begin(CLOUD))) == [2]
        assert numbers(await drain(outbox.begin(PLANT))) == [1, 2, 3]


async def test_a_row_that_is_not_there_cannot_be_confirmed(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1)
        cursor = outbox.begin(CLOUD)
        for wrong in ([2], [0], [1, 7]):
            with pytest.raises(ValueError, match="the log ends at 1"):
                cursor.confirm(wrong)
        assert numbers(await drain(cursor)) == [1]


async def test_a_session_of_a_publisher_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        with pytest.raises(KeyError):
            outbox.begin(PLANT)


async def test_ids_never_repeat_after_the_log_has_run_empty(tmp_path: Path) -> None:
    seen: list[int] = []
    for life in range(3):
        async with opened(tmp_path, CLOUD) as outbox:
            await fill(outbox, PRESS, life)
            seen += [row.id for row in await drain(outbox.begin(CLOUD))]
            await outbox.flush()
            assert outbox.summary()["rows"] == 0
    assert seen == [1, 2, 3]


async def test_a_backlog_keeps_its_names_when_points_are_renamed_reordered_and_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        old = table("press-01", "temperature", "pressure", "speed")
        await outbox.append(old, batch(old, 1, (0, 1, 2)))
        new = table("press-01", "speed", "druck")  # in the same commit, too
        await outbox.append(new, batch(new, 2, (0, 1)))
        await outbox.flush()
    for last in (table("press-01", "druck", "speed"), table("press-01", "level")):
        async with opened(tmp_path, CLOUD) as outbox:
            await outbox.append(last, batch(last, 3, (0,)))
    async with opened(tmp_path, CLOUD) as outbox:
        assert named(await drain(outbox.begin(CLOUD))) == [
            ("temperature", 1), ("pressure", 1), ("speed", 1),
            ("speed", 2), ("druck", 2),
            ("druck", 3),
            ("level", 3),
        ]  # fmt: skip


async def test_peer_defect_05_configuration_changes_keep_the_backlog(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1, 2)
        await fill(outbox, CNC, 3)
    more = table("press-01", "a", "b", "c", alarm=ReadingClass.ALARM)
    async with opened(tmp_path, CLOUD, commit_interval_s=0.05, commit_bytes=1024) as outbox:  # cnc-07 is gone
        await fill(outbox, more, 4)
        assert numbers(await drain(outbox.begin(CLOUD))) == [1, 2, 3, 4]


async def test_peer_defect_06_a_clean_stop_keeps_the_backlog(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, CLOUD, clock=clock) as outbox, asyncio.TaskGroup() as group:
        running = group.create_task(outbox.run())
        await outbox.append(PRESS, batch(PRESS, 1))
        await clock.advance(1)
        await eventually(lambda: outbox.summary()["committed"] == 1)
        await outbox.append(PRESS, batch(PRESS, 2))  # no tick comes any more
        running.cancel()
    async with opened(tmp_path, CLOUD) as outbox:
        cursor = outbox.begin(CLOUD)
        assert numbers(await drain(cursor)) == [1, 2]
        await fill(outbox, PRESS, 3)
        assert numbers(await drain(cursor, Stream.LIVE)) == [3]


async def test_peer_defect_17_a_changed_set_of_publishers_keeps_stored_rows(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1, 2, 3)
        outbox.begin(CLOUD).confirm([1])
    async with opened(tmp_path, CLOUD, PLANT) as outbox:  # a new one starts at the oldest row that is kept
        assert numbers(await drain(outbox.begin(PLANT), confirm=False)) == [2, 3]
        assert numbers(await drain(outbox.begin(CLOUD), confirm=False)) == [2, 3]
    async with opened(tmp_path) as outbox:  # none: rows are owed to whoever comes
        await fill(outbox, PRESS, 4)
        await outbox.flush()
    async with opened(tmp_path, PLANT) as outbox:
        assert numbers(await drain(outbox.begin(PLANT), confirm=False)) == [2, 3, 4]
    async with opened(tmp_path, CLOUD) as outbox:  # it returns, and has not forgotten
        assert numbers(await drain(outbox.begin(CLOUD), confirm=False)) == [2, 3, 4]


async def test_a_removed_publisher_holds_no_row_back(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, 1, 2, 3)
        await drain(outbox.begin(CLOUD))
    async with opened(tmp_path, CLOUD) as outbox:
        await outbox.flush()
        assert outbox.summary()["rows"] == 0


async def test_rows_keep_the_epoch_that_they_were_written_under(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    async with opened(tmp_path, CLOUD, machine="one") as outbox:
        first = outbox.epoch
        await fill(outbox, PRESS, 1)
    async with opened(tmp_path, CLOUD, machine="one", metrics=metrics) as outbox:
        assert outbox.epoch == first
    async with opened(tmp_path, CLOUD, machine="", metrics=metrics) as outbox:  # unknown is no change
        assert outbox.epoch == first
    assert not caplog.records
    async with opened(tmp_path, CLOUD, machine="clone", metrics=metrics) as outbox:
        assert outbox.epoch != first
        await fill(outbox, PRESS, 2)
        rows = await drain(outbox.begin(CLOUD))
    assert [row.epoch for row in rows] == [first, outbox.epoch]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert metrics.registry.get_sample_value("edge_agent_outbox_new_epochs_total") == 1


async def test_one_process_has_the_directory(tmp_path: Path) -> None:
    async with opened(tmp_path / "state", CLOUD):
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o750
        with pytest.raises(OutboxError, match=f"in use by process {os.getpid()}"):
            async with opened(tmp_path / "state", CLOUD):
                pass
    async with opened(tmp_path / "state", CLOUD):
        pass


async def test_a_directory_that_cannot_be_made_is_an_outbox_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="cannot use the state directory"):
        async with opened(tmp_path / "file" / "state", CLOUD):
            pass
    with pytest.raises(OutboxError, match=r"/file is a file, not a folder$"):
        async with opened(tmp_path / "file", CLOUD):
            pass


async def test_what_a_driver_learned_survives(tmp_path: Path) -> None:
    metrics = Metrics()
    async with opened(tmp_path, CLOUD, metrics=metrics) as outbox:
        state = outbox.learned(DeviceId("press-01"))
        state.update({"refused": "3,4", "order": "CDAB", "gone": "x"})
        await outbox.flush()
        state["order"] = "CDAB"
        await outbox.flush()
        assert metrics.registry.get_sample_value("edge_agent_outbox_commits_total") == 1
        del state["gone"]
    async with opened(tmp_path, CLOUD) as outbox:
        assert dict(outbox.learned(DeviceId("press-01"))) == {"refused": "3,4", "order": "CDAB"}
        assert dict(outbox.learned(DeviceId("cnc-07"))) == {}


async def test_wait_returns_for_rows_that_can_be_leased_only(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1)
        cursor = outbox.begin(CLOUD)
        await cursor.wait()
        await drain(cursor, confirm=False)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(cursor.wait())
            await asyncio.sleep(0)
            await outbox.flush()
            assert not waiting.done(), "an acknowledgement or nothing at all is no news"
            await fill(outbox, PRESS, 2)
        assert numbers(await drain(cursor, Stream.LIVE)) == [2]


async def test_metrics_and_summary_say_what_is_kept(tmp_path: Path) -> None:
    metrics = Metrics()
    value = metrics.registry.get_sample_value
    async with opened(tmp_path, CLOUD, PublisherId("mes"), metrics=metrics) as outbox:
        assert value("edge_agent_outbox_pending_rows", {"publisher": "mes"}) == 0
        await outbox.append(PRESS, batch(PRESS, 1, (0, 1)))
        assert outbox.summary()["buffered"] == 2
        await outbox.append(CNC, batch(CNC, 2))
        await outbox.flush()
        await drain(outbox.begin(CLOUD))
        await outbox.flush()
        await outbox.flush()
        summary = outbox.summary()
        assert value("edge_agent_outbox_commits_total") == 2, "a commit of nothing is none"
        assert value("edge_agent_outbox_commit_seconds_count") == 2
    assert value("edge_agent_outbox_committed_readings_total") == summary["committed"] == 3
    assert value("edge_agent_outbox_committed_rows_total") == 2
    assert value("edge_agent_outbox_buffered_readings") == 0
    assert value("edge_agent_outbox_size_bytes") == summary["size_bytes"]
    assert value("edge_agent_outbox_pending_rows", {"publisher": "mes"}) == 2
    assert value("edge_agent_outbox_pending_rows", {"publisher": "cloud"}) == 0
    assert value("edge_agent_outbox_oldest_pending_timestamp_seconds", {"publisher": "cloud"}) == 0
    assert summary["pending"] == {"cloud": 0, "mes": 2}
    assert (tmp_path / FILE_NAME).stat().st_size > 0


async def test_the_oldest_that_somebody_has_still_to_get_is_told_by_its_time(tmp_path: Path) -> None:
    metrics = Metrics()

    def oldest_s() -> float | None:
        return metrics.registry.get_sample_value(
            "edge_agent_outbox_oldest_pending_timestamp_seconds", {"publisher": "cloud"}
        )

    async with opened(tmp_path, CLOUD, metrics=metrics) as outbox:
        assert oldest_s() == 0
        for second in (100, 200, 300):
            await outbox.append(PRESS, replace(batch(PRESS, 1), time_ns=second * 10**9))
            await outbox.flush()
        assert oldest_s() == 100
        cursor = outbox.begin(CLOUD)
        (first,) = await cursor.lease(Stream.REPLAY, max_rows=1, max_bytes=1)
        cursor.confirm([first.id])
        await outbox.flush()
        assert oldest_s() == 200
        await drain(cursor)
        await outbox.flush()
        assert oldest_s() == 0


async def test_rows_that_come_back_behind_what_was_leased_are_replayed(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, *range(1, 10))
        outbox._ledger.kept.discard(3, 5)
        cursor = outbox.begin(CLOUD)
        await fill(outbox, PRESS, *range(10, 16))
        outbox._ledger.kept.discard(12, 14)
        assert numbers(await drain(cursor, confirm=False)) == [1, 2, 6, 7, 8, 9]
        (first, second) = await cursor.lease(Stream.LIVE, max_rows=2, max_bytes=10_000)
        outbox._ledger.kept.add(3, 5)
        outbox._ledger.kept.add(12, 14)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(cursor.wait([Stream.REPLAY]))
            await asyncio.sleep(0)
            cursor.rewind(3, 14)
            await waiting
        back = await drain(cursor, confirm=False)
        assert numbers(back) == [3, 4, 5, 12, 13, 14]
        assert all(row.historical for row in back)
        assert numbers([first, second]) == [10, 11]
        assert numbers(await drain(cursor, Stream.LIVE, confirm=False)) == [15]


async def test_a_new_publisher_starts_at_the_oldest_row_or_at_what_comes_from_now_on(tmp_path: Path) -> None:
    late = PublisherId("mes")
    async with opened(tmp_path, CLOUD) as outbox:
        await fill(outbox, PRESS, 1, 2)
    async with opened(tmp_path, CLOUD, PLANT, late, starts_now=[late]) as outbox:
        await fill(outbox, PRESS, 3)
        assert account(outbox, PLANT) == {"committed": 3, "confirmed": 0, "dropped": 0, "pending": 3}
        assert account(outbox, late) == {"committed": 1, "confirmed": 0, "dropped": 0, "pending": 1}
        assert numbers(await drain(outbox.begin(PLANT), confirm=False)) == [1, 2, 3]
        assert numbers(await drain(outbox.begin(late), confirm=False)) == [3]
    async with opened(tmp_path, CLOUD, PLANT, late, starts_now=[late, CLOUD]) as outbox:  # it is not new any more
        assert numbers(await drain(outbox.begin(late), confirm=False)) == [3]
        assert numbers(await drain(outbox.begin(CLOUD), confirm=False)) == [1, 2, 3]


async def test_a_renamed_publisher_or_device_touches_nothing_of_the_others(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        await fill(outbox, PRESS, 1)
        await fill(outbox, CNC, 2)
        await drain(outbox.begin(CLOUD))
        outbox.begin(PLANT).confirm([1])
    renamed = PublisherId("plant-2")
    async with opened(tmp_path, CLOUD, renamed) as outbox:  # plant became plant-2, press-01 became press-02
        await fill(outbox, table("press-02", "a", "b"), 3)
        assert account(outbox, CLOUD) == {"committed": 3, "confirmed": 2, "dropped": 0, "pending": 1}
        assert account(outbox, renamed) == {"committed": 2, "confirmed": 0, "dropped": 0, "pending": 2}
        rows = await drain(outbox.begin(renamed), confirm=False)
        assert [row.table.device for row in rows] == ["cnc-07", "press-02"], "both had the first"
        assert numbers(await drain(outbox.begin(CLOUD), confirm=False)) == [3]
    async with opened(tmp_path, CLOUD, PLANT) as outbox:  # and back: it has not forgotten
        assert numbers(await drain(outbox.begin(PLANT), confirm=False)) == [2, 3]
        assert account(outbox, PLANT)["pending"] == 2


async def test_accounts_are_exact_across_restarts(tmp_path: Path) -> None:
    for life in range(1, 4):
        async with opened(tmp_path, CLOUD, PLANT) as outbox:
            await fill(outbox, PRESS, life)
            await outbox.append(PRESS, batch(PRESS, 10 + life, (0, 1)))
            cursor = outbox.begin(CLOUD)
            await drain(cursor)
            await outbox.flush()
            expected = {"committed": 3 * life, "dropped": 0}
            assert account(outbox, CLOUD) == expected | {"confirmed": 3 * life - 2, "pending": 2}
            assert account(outbox, PLANT) == expected | {"confirmed": 0, "pending": 3 * life}


async def test_the_backlog_is_counted_in_readings_whatever_is_live_beside_it(tmp_path: Path) -> None:
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        for number in range(1, 6):
            await outbox.append(PRESS, batch(PRESS, number, points=(0, 1)))
            await outbox.flush()
        cursor = outbox.begin(CLOUD)
        assert cursor.replay_readings == 10
        await fill(outbox, PRESS, 6, 7, 8)
        assert cursor.replay_readings == 10
        (first, *_) = await drain(cursor, Stream.LIVE, confirm=False)
        cursor.confirm([first.id])
        backlog = await drain(cursor, confirm=False)
        cursor.confirm(row.id for row in backlog[:2])
        await outbox.flush()
        assert cursor.replay_readings == 6
        cursor.confirm(row.id for row in backlog)
        assert cursor.replay_readings == 0
        assert outbox.begin(PLANT).replay_readings == 13
