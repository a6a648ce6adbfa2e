from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.backoff import Backoff
from edge_agent.clock import SystemClock
from edge_agent.current import Current, DevicePhase
from edge_agent.model import (
    Column,
    DataType,
    DeviceId,
    Point,
    PointName,
    PointTable,
    Quality,
    ReadingBatch,
    ReadingClass,
    check_id,
    is_bad,
    is_good,
)
from edge_agent.model.quality import quality_name
from edge_agent.model.quantity import format_duration, parse_duration_s, parse_size_bytes
from edge_agent.testing.fakes import FakeClock

DEVICE = DeviceId("d")
TABLE = PointTable(
    DEVICE, (Point(PointName("a"), unit="°C"), Point(PointName("b"), reading_class=ReadingClass.ALARM))
)


@pytest.mark.parametrize("text", ["a", "cnc-07", "GW_1", "0", "x" * 64])
def test_ids_that_need_no_quoting_anywhere_are_taken(text: str) -> None:
    assert check_id(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a-", "a/b", "a b", "机床", "a+", "#", "a.b", "x" * 65, "a\n"])
def test_other_ids_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="id"):
        check_id(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1s", 1), ("1.5s", 1.5), ("5min", 300), ("2h", 7200), ("7d", 604800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds
    assert parse_duration_s(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["5", "", "s", "5 parsecs", "-1s", "1e3s", "5 m"])
def test_durations_without_a_known_unit_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unit|duration"):
        parse_duration_s(text)


def test_sizes_and_what_they_are_not() -> None:
    assert parse_size_bytes("256KiB") == 262144
    assert parse_size_bytes("4 GB") == 4 * 10**9
    with pytest.raises(ValueError, match="whole number"):
        parse_size_bytes("0.3B")


def test_severity_of_a_status_code() -> None:
    assert is_good(Quality.GOOD)
    assert not is_good(Quality.UNCERTAIN)
    assert not is_bad(Quality.UNCERTAIN)
    assert is_bad(Quality.BAD_TIMEOUT)
    assert quality_name(Quality.BAD_TIMEOUT) == "BAD_TIMEOUT"
    assert quality_name(0x80FF0000) == "0x80FF0000"


def test_a_point_table_comes_back_from_its_json_and_its_digest_sees_every_kept_field() -> None:
    again = PointTable.from_json(TABLE.to_json())
    assert again == TABLE
    assert again.digest == TABLE.digest
    assert PointTable(DEVICE, TABLE.points[::-1]).digest != TABLE.digest
    assert TABLE.single_class is None
    assert PointTable(DEVICE, TABLE.points[:1]).single_class is ReadingClass.TREND


def test_taking_positions_keeps_value_status_and_time_together() -> None:
    column = Column(
        DataType.STRING,
        array("H", [4, 5, 6]),
        ["x", "y", "z"],
        array("I", [0, 1, 2]),
        array("q", [10, 20, 30]),
        array("q", [7, 8, 9]),
    )
    taken = column.take([2, 0])
    assert (list(taken.points), taken.values) == ([6, 4], ["z", "x"])
    assert taken.statuses is not None
    assert taken.offsets_ns is not None
    assert (list(taken.statuses), list(taken.offsets_ns)) == ([2, 0], [30, 10])
    assert taken.lags_ns == array("q", [9, 7])
    assert column.take(range(1, 3)).lags_ns == array("q", [8, 9])


@given(st.floats(0, 0.999999), st.integers(1, 200))
def test_a_pause_lies_within_its_limits_however_often_it_failed(random: float, attempts: int) -> None:
    backoff = Backoff(1.0, 60.0, lambda: random, floor_s=0.5)
    for _ in range(attempts):
        assert 0.5 <= backoff.next_s() <= 60.0
    backoff.reset()
    assert backoff.next_s() <= 1.0


async def test_the_present_knows_the_last_reading_of_each_point_and_when_the_phase_changed() -> None:
    clock = FakeClock()
    device = Current(clock).add(TABLE)
    assert device.latest(0).status == Quality.BAD_WAITING_FOR_INITIAL_DATA
    column = Column(DataType.BOOL, array("H", [1]), array("B", [1]), None, array("q", [-5]))
    device.update(ReadingBatch(DEVICE, 100, (column,)))
    assert (device.latest(1).value, device.latest(1).time_ns) == (True, 95)
    assert device.latest(1).server_time_ns is None, "no other than the reading's"
    late = Column(DataType.BOOL, array("H", [1]), array("B", [1]), None, array("q", [-5]), array("q", [4]))
    device.update(ReadingBatch(DEVICE, 100, (late,)))
    assert (device.latest(1).time_ns, device.latest(1).server_time_ns) == (95, 99)
    device.update(ReadingBatch.bad(DEVICE, 200, [1], Quality.BAD_NO_COMMUNICATION))
    assert device.latest(1).value is None
    since_ns = device.since_ns
    clock.step(5)
    device.enter(DevicePhase.CONNECTING, "again")
    assert device.since_ns == since_ns
    device.enter(DevicePhase.ONLINE)
    assert device.since_ns == since_ns + 5 * 10**9


async def test_the_system_clock_tells_both_times() -> None:
    clock = SystemClock()
    before_s = clock.monotonic_s()
    await clock.sleep(0.001)
    assert clock.monotonic_s() > before_s
    assert clock.now_ns() > 1_700_000_000 * 10**9


async def test_the_fake_clock_wakes_sleepers_in_order_and_moves_both_times() -> None:
    clock = FakeClock()
    start_ns, start_s = clock.now_ns(), clock.monotonic_s()
    await clock.advance(2.5)
    assert clock.now_ns() - start_ns == 2_500_000_000
    assert clock.monotonic_s() - start_s == 2.5
