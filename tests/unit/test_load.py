"""Which intervals a line can meet."""

import pytest

from edge_agent.cli.plan import advice
from edge_agent.collect.load import LineLoad, Poll
from edge_agent.model import DeviceId


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
