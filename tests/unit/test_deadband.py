import math
from array import array

from edge_agent.collect.deadband import DeadbandFilter
from edge_agent.model import (
    Column,
    DataType,
    Deadband,
    DeviceId,
    Point,
    PointName,
    PointTable,
    Quality,
    ReadingBatch,
)

DEVICE = DeviceId("d")


def table(*bands: Deadband | None) -> PointTable:
    return PointTable(DEVICE, tuple(Point(PointName(f"p{i}"), deadband=band) for i, band in enumerate(bands)))


def batch(*values: float, statuses: list[int] | None = None) -> ReadingBatch:
    points = array("H", range(len(values)))
    status = None if statuses is None else array("I", statuses)
    return ReadingBatch(DEVICE, 0, (Column(DataType.FLOAT64, points, array("d", values), status),))


def kept(deadband: DeadbandFilter, *values: float, now_s: float = 0.0) -> list[float]:
    return [value for column in deadband.apply(batch(*values), now_s).columns for value in column.values or ()]  # type: ignore[misc]


def test_without_deadbands_the_batch_is_the_same_object() -> None:
    one = batch(1.0)
    assert DeadbandFilter(table(None)).apply(one, 0.0) is one


def test_absolute_band_compares_with_the_last_kept_value_so_that_a_slow_drift_shows() -> None:
    deadband = DeadbandFilter(table(Deadband(absolute=0.5)))
    assert [kept(deadband, value) for value in (10.0, 10.3, 10.5, 10.6)] == [[10.0], [], [], [10.6]]


def test_percent_band_is_of_the_last_kept_value() -> None:
    deadband = DeadbandFilter(table(Deadband(percent=1)))
    assert [kept(deadband, value) for value in (-200.0, -201.9, -202.1)] == [[-200.0], [], [-202.1]]


def test_silence_ends_after_max_silence() -> None:
    deadband = DeadbandFilter(table(Deadband(absolute=1, max_silence_s=60)))
    assert [kept(deadband, 5.0, now_s=now_s) for now_s in (0, 59.9, 60.0, 61)] == [[5.0], [], [5.0], []]


def test_points_without_a_band_pass_beside_those_with_one() -> None:
    deadband = DeadbandFilter(table(Deadband(absolute=1), None))
    assert kept(deadband, 1.0, 1.0) == [1.0, 1.0]
    assert kept(deadband, 1.5, 1.0) == [1.0]


def test_a_change_of_quality_is_always_news() -> None:
    deadband = DeadbandFilter(table(Deadband(absolute=100)))
    good, bad = batch(1.0), batch(1.0, statuses=[Quality.BAD_TIMEOUT])
    assert [len(deadband.apply(one, 0.0)) for one in (good, bad, bad, good)] == [1, 1, 0, 1]


def test_not_a_number_is_never_swallowed() -> None:
    deadband = DeadbandFilter(table(Deadband(absolute=100)))
    assert len(kept(deadband, 1.0)) == 1
    assert len(kept(deadband, math.nan)) == 1


def test_what_is_kept_has_its_own_times() -> None:
    points, values = array("H", [0, 1, 0, 1]), array("d", [1.0, 1.0, 1.2, 3.0])
    times = (array("q", [10, 20, 30, 40]), array("q", [1, 2, 3, 4]))
    one = ReadingBatch(DEVICE, 0, (Column(DataType.FLOAT64, points, values, None, *times),))
    (column,) = DeadbandFilter(table(Deadband(absolute=1), Deadband(absolute=1))).apply(one, 0.0).columns
    assert (list(column.values or ()), column.offsets_ns, column.lags_ns) == (
        [1.0, 1.0, 3.0],
        array("q", [10, 20, 40]),
        array("q", [1, 2, 4]),
    )


def test_the_first_reading_after_another_deadband_is_kept_and_those_of_other_points_are_compared_as_before() -> (
    None
):
    deadband = DeadbandFilter(table(Deadband(absolute=1), Deadband(absolute=1), None, Deadband(absolute=1)))
    assert kept(deadband, 1.0, 2.0, 3.0, 4.0) == [1.0, 2.0, 3.0, 4.0]
    deadband.take(table(Deadband(absolute=1), Deadband(absolute=9), Deadband(absolute=9), None))
    assert kept(deadband, 1.5, 2.5, 3.5, 4.5) == [2.5, 3.5, 4.5]
    assert kept(deadband, 2.5, 3.5, 4.5, 5.5) == [2.5, 5.5]
    deadband.take(table(None, None, None, None))
    assert kept(deadband, 2.5, 3.5, 4.5, 5.5) == [2.5, 3.5, 4.5, 5.5]
