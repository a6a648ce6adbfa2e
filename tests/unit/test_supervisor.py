import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import pairwise

import pytest

from edge_agent.current import DevicePhase
from edge_agent.driver import Context, Emit, Request
from edge_agent.errors import DeviceUnavailableError, ExchangeError, OutboxFullError, PointRejectedError
from edge_agent.model import Column, Deadband, Point, PointName, PointTable, Quality, ReadingBatch
from edge_agent.testing.eventually import eventually
from tests.servers.supervised import DEVICE, AskedFor, Bench, Plant, Refusing


async def test_polls_at_a_fixed_rate_and_closes_its_session_when_stopped() -> None:
    bench = Bench(Plant())
    async with bench.running():
        await bench.clock.advance(9)
        assert len(bench.plant.reads) == 10
        assert bench.phase() is DevicePhase.ONLINE
        assert bench.current.latest(1).value == 7
    assert bench.plant.closes == 1


async def test_loss_is_reported_once_in_the_data_and_once_more_after_a_recovery() -> None:
    bench = Bench(Plant())
    async with bench.running():
        for _ in range(2):
            bench.plant.is_up = False
            await bench.clock.advance(300)
            assert bench.phase() is DevicePhase.OFFLINE
            bench.plant.is_up = True
            await bench.clock.advance(65)
            assert bench.phase() is DevicePhase.ONLINE
    assert bench.bad_batches() == [Quality.BAD_NO_COMMUNICATION] * 2
    assert bench.value("device_losses_total") == 2


async def test_peer_defect_15_an_hour_off_then_back_by_itself() -> None:
    bench = Bench(Plant(is_up=False))
    async with bench.running():
        await bench.clock.advance(3600)
        assert not bench.plant.reads
        bench.plant.is_up = True
        await bench.clock.advance(61)
        assert bench.plant.reads


async def test_back_off_grows_to_its_limit_and_no_further() -> None:
    attempts: list[float] = []
    plant = Plant()
    bench = Bench(plant)

    async def refuse() -> Plant:
        attempts.append(bench.clock.monotonic_s())
        raise DeviceUnavailableError("no")

    plant.connect = refuse  # type: ignore[method-assign]
    async with bench.running():
        await bench.clock.advance(600)
    pauses_s = [round(b - a) for a, b in pairwise(attempts)]
    assert pauses_s[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(pauses_s[7:]) == {60}


async def test_failed_exchanges_end_the_session_after_several_in_a_row() -> None:
    bench = Bench(Plant())
    async with bench.running():
        bench.plant.answers = False
        await bench.clock.advance(2)
        assert bench.plant.closes == 0
        bench.plant.answers = True
        await bench.clock.advance(1)
        bench.plant.answers = False
        await bench.clock.advance(3)
        assert bench.plant.closes == 1
        assert bench.current.reason == "no answer (3 in a row)"
    assert bench.value("exchange_failures_total") >= 5


async def test_a_device_that_hangs_is_timed_out() -> None:
    bench = Bench(Plant(), max_failures=1)
    async with bench.running():
        bench.plant.hangs = True
        await bench.clock.advance(1)
        await eventually(lambda: bench.current.phase is DevicePhase.OFFLINE)
    assert bench.current.reason == "no answer within 0.05 s to: read [0, 1, 2] (1 in a row)"


class TwoBlocks(Plant):
    """Answers for ``a`` and ``b``; of the block with ``c``, which is asked for first, it says nothing at all."""

    silent = True

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Request]:
        return [AskedFor([2]), AskedFor([0, 1])]

    async def read(self, request: Request) -> ReadingBatch:
        if self.silent and 2 in request.points:
            raise ExchangeError("no answer")
        return await super().read(request)


async def test_points_whose_exchange_fails_among_others_that_do_not_become_bad_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plant = TwoBlocks()
    plant.silent = False
    bench = Bench(plant)
    async with bench.running():
        assert bench.current.latest(2).value == 7
        plant.silent = True
        await bench.clock.advance(2)
        assert bench.bad_batches() == []
        await bench.clock.advance(60)
        assert bench.phase() is DevicePhase.ONLINE
        assert bench.bad_batches() == [Quality.BAD_COMMUNICATION_ERROR]
        assert bench.current.latest(2).status == Quality.BAD_COMMUNICATION_ERROR
        assert bench.current.latest(0).value == 7
        plant.silent = False
        await bench.clock.advance(60)
        assert bench.current.latest(2).value == 7
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "points get no answer"
    ]
    assert bench.plant.connects == 1


@pytest.mark.parametrize("was_up", [True, False])
async def test_a_block_that_is_never_answered_does_not_keep_a_lost_device_lost(*, was_up: bool) -> None:
    plant = TwoBlocks(is_up=was_up)
    bench = Bench(plant)
    async with bench.running():
        plant.is_up = False
        await bench.clock.advance(60)
        assert bench.phase() is DevicePhase.OFFLINE
        plant.is_up = True
        await bench.clock.advance(200)
        assert bench.phase() is DevicePhase.ONLINE
        assert bench.current.latest(0).value == 7


async def test_refused_points_are_planned_alone_from_then_on() -> None:
    bench = Bench(Plant(refuses=frozenset({1})))
    async with bench.running():
        await bench.clock.advance(3)
    assert bench.plant.plans == [frozenset(), frozenset({1})]
    assert bench.value("readings_bad_total") == 4


async def test_a_point_that_the_device_gives_again_shares_its_exchange_again() -> None:
    plant = Refusing(refuses=frozenset({0, 1, 2}))
    bench = Bench(plant)
    async with bench.running():
        await bench.clock.advance(30)
        assert plant.reads[-3:] == [[0], [1], [2]]
        assert plant.reads.count([1]) == plant.reads.count([2]) == 1
        plant.refuses = frozenset({1})
        await bench.clock.advance(61)
        assert plant.reads[-1] == [0, 2]
        await bench.clock.advance(180)
        assert plant.reads.count([1]) == 3
    assert plant.plans == [frozenset(), frozenset({0, 1, 2}), frozenset({1, 2}), frozenset({1})]


@pytest.mark.slow
async def test_refused_points_are_tried_later_each_time_and_kept_bad_meanwhile() -> None:
    class Probed(Refusing):
        async def read(self, request: Request) -> ReadingBatch:
            if 1 in request.points:
                probes.append(round(bench.clock.monotonic_s()))
            return await super().read(request)

    probes: list[int] = []
    bench = Bench(Probed(refuses=frozenset({1})))
    async with bench.running():
        await bench.clock.advance(4 * 3600)
        assert bench.current.latest(1).status == Quality.BAD_NOT_READABLE
        assert bench.current.latest(0).value == 7
        assert bench.value("refused_points") == 1
    pauses_s = [b - a for a, b in pairwise(probes)]
    assert pauses_s[:6] == [30, 60, 120, 240, 480, 960]
    assert set(pauses_s[6:]) == {1800}


async def test_an_exchange_that_is_known_to_be_silent_costs_a_time_out_now_and_then_only() -> None:
    class Counting(TwoBlocks):
        async def read(self, request: Request) -> ReadingBatch:
            tries.append(list(request.points))
            return await super().read(request)

    tries: list[list[int]] = []
    bench = Bench(Counting())
    async with bench.running():
        await bench.clock.advance(600)
    assert tries.count([0, 1]) >= 590
    assert 3 < tries.count([2]) <= 3 + 600 // 60 + 1


async def test_points_that_every_session_finds_refused_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    plant = Plant(refuses=frozenset({1}))
    bench = Bench(plant)
    async with bench.running():
        for _ in range(3):
            plant.is_up = False
            await bench.clock.advance(2)
            plant.is_up = True
            await bench.clock.advance(65)
    assert [record.message for record in caplog.records].count("points refused by the device") == 1


async def test_refused_points_that_are_reported_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Reporter(Plant):
        async def run(self, emit: Emit) -> None:
            for refused in ({0}, {0, 2}, {0, 2}):
                column = Column.bad(refused, Quality.BAD_NODE_ID_UNKNOWN)
                await emit(ReadingBatch(DEVICE, 2, (column,), frozenset(refused)))
            raise DeviceUnavailableError("session lost")

    bench = Bench(Reporter(reported=(0, 1, 2), polled=()))
    async with bench.running():
        await bench.clock.advance(60)
        assert bench.plant.connects > 1
    told = [record.__dict__["points"] for record in caplog.records if "refused" in record.message]
    assert told == [["a"], ["c"]]


async def test_reported_and_polled_points_come_through_one_session() -> None:
    bench = Bench(Plant(reported=(2,), polled=(0, 1)))
    async with bench.running():
        await bench.clock.advance(2)
        assert bench.current.latest(2).value == 9
        assert bench.plant.reads == [[0, 1]] * 3
    assert bench.plant.connects == 1
    assert bench.plant.closes == 1


async def test_a_table_with_the_same_points_is_taken_up_in_the_session_at_the_next_batch() -> None:
    bench = Bench(Plant())
    wide = Deadband(absolute=9)
    tables = [
        PointTable(DEVICE, tuple(Point(PointName(name), description=text, deadband=wide) for name in "abc"))
        for text in ("", "oil")
    ]
    async with bench.running():
        for bench.table in tables:
            bench.supervisor.adjust(replace(bench.supervisor._options, table=bench.table))
            assert bench.current.table is bench.table
            assert bench.current.latest(1).value == 7
            before = len(bench.kept)
            await bench.clock.advance(5)
            assert len(bench.kept) == before + (bench.table is tables[0])  # the first value after, and no repeats
    assert bench.plant.connects == 1


async def test_a_driver_that_crashes_five_times_within_an_hour_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Plant(crash=ZeroDivisionError("oops")))
    async with bench.running():
        await bench.clock.advance(400)
        assert bench.phase() is DevicePhase.FAILED
    assert bench.value("driver_crashes_total") == 5
    assert bench.bad_batches() == [Quality.BAD_NO_COMMUNICATION]
    assert "ZeroDivisionError" in caplog.text


async def test_a_cancellation_that_a_driver_lets_out_is_a_crash_and_not_the_end() -> None:
    bench = Bench(Plant(crash=asyncio.CancelledError()))
    async with bench.running():
        assert bench.phase() is DevicePhase.OFFLINE
        bench.plant.crash = None
        await bench.clock.advance(65)
        assert bench.phase() is DevicePhase.ONLINE
    assert bench.value("driver_crashes_total") == 1


@pytest.mark.parametrize("where", ["poll", "run"])
async def test_a_cancellation_out_of_a_reporting_session_is_a_crash_too(where: str) -> None:
    class Leaking(Plant):
        async def run(self, emit: Emit) -> None:
            if where == "run":
                raise asyncio.CancelledError
            await super().run(emit)

    plant = Leaking(reported=(2,), polled=(0,), crash=asyncio.CancelledError() if where == "poll" else None)
    bench = Bench(plant)
    async with bench.running():
        await bench.clock.advance(1)
        assert bench.value("driver_crashes_total") == 1


async def test_a_crash_in_a_reporting_session_is_a_crash_too() -> None:
    bench = Bench(Plant(reported=(2,), polled=(0,), crash=ZeroDivisionError("oops")))
    async with bench.running():
        await bench.clock.advance(1)
    assert bench.value("driver_crashes_total") == 1


async def test_what_the_driver_cannot_do_as_configured_fails_with_its_reason() -> None:
    bench = Bench(Plant())

    def create(_context: Context, _config: object) -> Plant:
        raise PointRejectedError("point a: no such table")

    options = bench.supervisor._options
    bench.supervisor._options = replace(options, spec=replace(options.spec, create=create))
    async with bench.running():
        assert bench.phase() is DevicePhase.FAILED
        assert bench.current.reason == "point a: no such table"


async def test_a_failing_outbox_ends_the_task() -> None:
    bench = Bench(Plant())

    async def full(_table: PointTable, _batch: ReadingBatch) -> None:
        raise OutboxFullError("no space")

    bench.supervisor._sink = full
    with pytest.raises(ExceptionGroup) as caught:
        async with bench.running():
            await bench.clock.advance(5)
    assert caught.group_contains(OutboxFullError)


async def test_a_cancellation_that_comes_while_a_session_fails_still_stops_the_task() -> None:
    reading, failing, stuck = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow(Plant):
        async def run(self, emit: Emit) -> None:
            await reading.wait()
            raise DeviceUnavailableError("gone")

        async def read(self, request: Request) -> ReadingBatch:
            reading.set()
            try:
                await asyncio.Event().wait()
            finally:
                failing.set()
                await stuck.wait()
            raise AssertionError

    bench = Bench(Slow(reported=(2,), polled=(0, 1)), read_timeout_s=60.0)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(bench.supervisor.run())
        advancing = group.create_task(bench.clock.advance(1))
        await failing.wait()
        task.cancel()
        await asyncio.sleep(0)
        stuck.set()
        await asyncio.wait([task])
        advancing.cancel()
    assert task.cancelled()


async def test_a_device_that_drops_each_session_after_a_reading_is_not_stormed() -> None:
    class Dropping(Plant):
        async def read(self, request: Request) -> ReadingBatch:
            batch = await super().read(request)
            self.is_up = False
            return batch

        async def connect(self) -> Plant:
            self.is_up = True
            return await super().connect()

    bench = Bench(Dropping())
    async with bench.running():
        await bench.clock.advance(600)
    assert bench.plant.connects < 20
