"""What a session tells of a device besides its readings."""

import asyncio
from array import array

import pytest

from edge_agent.collect.telling import MAX_REMARKS_LOGGED
from edge_agent.current import DevicePhase
from edge_agent.driver import Emit
from edge_agent.model import Column, DataType, LossReason, Lost, Quality, ReadingBatch
from tests.servers.supervised import DEVICE, Bench, Plant


class Obstinate(Plant):
    remarks = ("it samples each 250ms, not each 100ms",)


async def test_what_a_device_does_otherwise_than_asked_is_logged_once_and_shown_while_it_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Obstinate())
    shown = []
    async with bench.running():
        for is_up in (True, False, True):
            bench.plant.is_up = is_up
            await bench.clock.advance(300)
            shown.append(bench.current.remarks)
    assert shown == [Obstinate.remarks, (), Obstinate.remarks]
    told = [record.__dict__["remark"] for record in caplog.records if "not do as asked" in record.getMessage()]
    assert told == list(Obstinate.remarks)


class Fickle(Plant):
    @property
    def remarks(self) -> tuple[str, ...]:
        return (f"its clock is {self.connects} s behind",)


async def test_a_device_that_says_something_else_each_time_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Fickle())
    async with bench.running():
        while bench.plant.connects < MAX_REMARKS_LOGGED + 3:
            for is_up in (False, True):
                bench.plant.is_up = is_up
                await bench.clock.advance(300)
        last = bench.plant.connects
        assert bench.current.remarks == (f"its clock is {last} s behind",)
    told = [record.getMessage() for record in caplog.records if "otherwise than asked" in record.getMessage()]
    remarks = [record.__dict__["remark"] for record in caplog.records if "not do as asked" in record.getMessage()]
    assert len(remarks) == len(set(remarks)) == MAX_REMARKS_LOGGED
    assert told == ["more that the device does otherwise than asked is shown by `edge-agent devices` alone"]


class Leaky(Plant):
    def __init__(self, *batches: ReadingBatch) -> None:
        super().__init__(reported=(0, 1, 2), polled=())
        self.batches = batches

    async def run(self, emit: Emit) -> None:
        for batch in self.batches:
            await emit(batch)
        await asyncio.Event().wait()


async def test_what_a_device_lost_is_counted_logged_once_and_goes_to_the_ledger(
    caplog: pytest.LogCaptureFixture,
) -> None:
    overflow = Lost((0, 1), 1, 2, LossReason.OVERFLOW, 2)
    outage = Lost((0, 1, 2), 1, 2, LossReason.OUTAGE)
    column = Column(DataType.INT16, array("H", [0]), array("h", [9]))
    bench = Bench(
        Leaky(
            ReadingBatch(DEVICE, 2, (), lost=(outage,)),
            ReadingBatch(DEVICE, 2, (column,), lost=(overflow,)),
            ReadingBatch(DEVICE, 2, (column,), lost=(overflow,)),
        )
    )
    async with bench.running():
        assert bench.lost == [outage, overflow, overflow]
        assert len(bench.kept) == 2
        assert bench.value("device_gaps_total") == 3
        assert bench.value("device_lost_readings_total") == 4
    told = [record for record in caplog.records if "the device lost readings" in record.getMessage()]
    assert [record.levelname for record in told if record.levelname == "WARNING"] == ["WARNING"]
    assert told[0].__dict__["points"] == ["a", "b"]


async def test_a_loss_alone_does_not_make_a_device_online() -> None:
    bench = Bench(Leaky(ReadingBatch(DEVICE, 2, (), lost=(Lost((0,), 1, 2, LossReason.OUTAGE),))))
    async with bench.running():
        assert bench.phase() is DevicePhase.CONNECTING


async def test_what_is_fetched_of_the_past_is_kept_and_is_not_the_present() -> None:
    def one(value: int, *, historical: bool) -> ReadingBatch:
        column = Column(DataType.INT16, array("H", [0]), array("h", [value]))
        return ReadingBatch(DEVICE, 2, (column,), historical=historical)

    bench = Bench(Leaky(one(7, historical=False), one(3, historical=True)))
    async with bench.running():
        assert bench.current.latest(0).value == 7
        assert [batch.historical for batch in bench.kept] == [False, True]
        assert bench.value("backfilled_readings_total") == 1
        assert bench.value("readings_total") == 2


async def test_points_that_a_session_rejects_are_counted_until_they_are_good() -> None:
    def one(status: int, *refused: int) -> ReadingBatch:
        column = Column(DataType.INT16, array("H", [0]), array("h", [1]), array("I", [status]))
        return ReadingBatch(DEVICE, 2, (column,), frozenset(refused))

    rejected = one(Quality.BAD_NODE_ID_UNKNOWN, 0)
    for batches, count in (([rejected], 1), ([rejected, one(Quality.BAD_TIMEOUT)], 1), ([rejected, one(0)], 0)):
        bench = Bench(Leaky(*batches))
        async with bench.running():
            assert bench.value("refused_points") == count
