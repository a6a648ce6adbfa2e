"""Which intervals a line can meet."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import cast

import pytest

from edge_agent.cli.plan import DevicePlan, advice, line_loads
from edge_agent.collect.load import LineLoad, Poll
from edge_agent.collect.options import DeviceOptions
from edge_agent.driver import Estimate, Request, Session
from edge_agent.model import DeviceId
from edge_agent_modbus.cost import LineSpeed
from edge_agent_modbus.decode import Source, ValueType
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.plan import Limits, ReadRequest, plan_reads


def polls(
    count: int, interval_s: float, duration_s: float, faster: tuple[tuple[int, float], ...] = ()
) -> list[Poll]:
    return [Poll(DeviceId(f"d{interval_s:g}-{i}"), interval_s, 1, duration_s, faster) for i in range(count)]


def test_a_line_with_time_to_spare_meets_every_interval() -> None:
    load = LineLoad("l", polls(10, 1.0, 0.05))
    assert load.busy_s == load.utilisation == pytest.approx(0.5)
    assert (load.late, load.cycle_s, load.enough_s, load.enough_baud_rate) == ((), 0, 0, 0)


def test_a_line_that_is_busy_all_the_time_is_not_late() -> None:
    assert LineLoad("l", polls(4, 1.0, 0.25)).late == ()


def test_thirty_units_every_half_second_at_9600_baud() -> None:
    load = LineLoad(
        "serial:/dev/ttyS1", polls(30, 0.5, 0.07, ((19200, 0.04), (57600, 0.0155), (115200, 0.01))), 9600
    )
    assert load.cycle_s == pytest.approx(2.1)
    assert len(load.late) == 30
    assert (load.enough_s, load.enough_baud_rate) == (2.3, 57600)
    assert advice(load) == (
        "line serial:/dev/ttyS1: 30 devices every 500ms need 2.1 s for each cycle (the line is busy 420%); "
        "raise the interval to 2.3s or more, the baud rate to 57600, or split the line"
    )


def test_long_intervals_are_met_on_a_line_that_short_ones_overload() -> None:
    load = LineLoad("l", [*polls(10, 0.5, 0.1), *polls(10, 60.0, 0.3)])
    assert {poll.interval_s for poll in load.late} == {0.5}
    assert load.cycle_s == pytest.approx(1.0 / (1 - 10 * 0.3 / 60))
    raised = LineLoad("l", [*polls(10, load.enough_s, 0.1), *polls(10, 60.0, 0.3)])
    assert raised.utilisation < 1, "the advice does not help"
    below = LineLoad("l", [*polls(10, load.cycle_s * 0.99, 0.1), *polls(10, 60.0, 0.3)])
    assert below.late, "the advice asks for too much"


def test_all_intervals_may_be_too_short() -> None:
    load = LineLoad("l", [*polls(1, 0.5, 1.0), *polls(1, 2.0, 4.0)])
    assert len(load.late) == 2
    assert load.cycle_s == pytest.approx(5.0)


def test_no_baud_rate_is_advised_where_none_is_enough() -> None:
    assert LineLoad("l", polls(30, 0.1, 0.07, ((19200, 0.04), (115200, 0.01))), 9600).enough_baud_rate == 0
    alone = LineLoad("tcp://h:502", polls(1, 0.5, 1.0))
    assert advice(alone).endswith("raise the interval to 1.1s or more, or read fewer points")


class SerialMeter:
    """A device on a serial line at 9600 baud that is asked for twenty registers."""

    polled: Sequence[int] = (0,)
    reported: Sequence[int] = ()

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[ReadRequest]:
        sources = [Source(index, Table.INPUT, 0, ValueType.BYTES, length_bytes=40) for index in points]
        return plan_reads(1, sources, refused, Limits())

    def estimate(self, request: Request, baud_rate: int = 0) -> Estimate:
        speed, asked = LineSpeed.serial(baud_rate or 9600), cast("ReadRequest", request)
        duration_s = speed.exchange_ns(asked.table, asked.count) / 1e9
        received_bytes = speed.received_bytes(asked.table, asked.count)
        return Estimate("serial:/dev/ttyS1", speed.sent_bytes, received_bytes, duration_s, speed.baud_rate)

    async def connect(self) -> Session:
        raise NotImplementedError


class Options:
    """Of ``DeviceOptions``, what a load needs."""

    def __init__(self, number: int) -> None:
        self.id = DeviceId(f"meter-{number:02}")


def test_the_load_of_a_serial_line_knows_which_baud_rate_would_do() -> None:
    meter = SerialMeter()
    polls = ((0.5, tuple(meter.plan([0], frozenset()))),)
    plans = [DevicePlan(cast("DeviceOptions", Options(number)), meter, polls) for number in range(30)]
    (load,) = line_loads(plans)
    assert (load.line, load.baud_rate, len(load.polls)) == ("serial:/dev/ttyS1", 9600, 30)
    one_s = (8 + 45 + 2 * 3.5) * 11 / 9600 + 0.01  # frames of RTU, silences, turn-around
    assert load.cycle_s == pytest.approx(30 * one_s, rel=1e-3)
    assert [rate for rate, _ in load.polls[0].faster] == [19200, 38400, 57600, 115200]
    assert load.enough_baud_rate == 0, "30 turn-arounds of 10 ms and 60 silences leave too little at any rate"
    (fewer,) = line_loads(plans[:15])
    assert fewer.enough_baud_rate == 38400
    assert "raise the interval to 1.3s or more, the baud rate to 38400, or split the line" in advice(fewer)
