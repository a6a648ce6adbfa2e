from array import array
from dataclasses import replace

from edge_agent.model import Column, DataType
from edge_agent_opcua.resumption import Resumption

TIME = 10_000
HEARD, ASKED = 5_000, 9_000


def server_times(columns: tuple[Column, ...]) -> list[int]:
    """Return what a server told, of each reading."""
    none = array("q", bytes(8 * 9))
    return [
        TIME + offset + lag
        for column in columns
        for _, offset, lag in zip(column.points, column.offsets_ns or none, column.lags_ns or none, strict=False)
    ]


def told(*readings: tuple[int, int, int]) -> Column:
    points, values, times = zip(*readings, strict=True)
    offsets = array("q", [time - TIME for time in times])
    return Column(DataType.INT16, array("H", points), array("h", values), None, offsets)


def shown(columns: tuple[Column, ...]) -> list[tuple[int, object, int]]:
    return [
        (point, column.values[i], TIME + (column.offsets_ns[i] if column.offsets_ns else 0))  # type: ignore[index]
        for column in columns
        for i, point in enumerate(column.points)
    ]


def test_what_has_not_changed_holds_at_the_time_of_asking() -> None:
    resumption = Resumption()
    resumption.expect([0, 1], HEARD, ASKED)
    assert shown(resumption.apply((told((0, 7, 100)),), TIME)) == [(0, 7, ASKED)]
    assert shown(resumption.apply((told((0, 8, 200), (1, 9, 300)),), TIME)) == [(1, 9, ASKED), (0, 8, 200)]


def test_a_change_during_the_outage_is_told_too_and_what_came_after_the_asking_follows() -> None:
    resumption = Resumption()
    resumption.expect([0, 1, 2], HEARD, ASKED)
    batch = (told((0, 7, 6_000), (0, 8, 9_500), (1, 1, 9_400), (2, 2, 4_000)),)
    assert shown(resumption.apply(batch, TIME)) == [
        (0, 7, 6_000),
        (0, 7, ASKED),
        (2, 2, ASKED),
        (0, 8, 9_500),
        (1, 1, 9_400),
    ]


def test_the_servers_times_stay_whatever_becomes_of_the_sources() -> None:
    resumption = Resumption()
    resumption.expect([0, 1, 2], HEARD, ASKED)
    column = told((0, 7, 100), (1, 8, 6_000), (2, 2, 9_500), (3, 3, 200))
    late = replace(column, lags_ns=array("q", [8_950, 0, 30, 0]))
    columns = resumption.apply((late,), TIME)
    assert shown(columns) == [(1, 8, 6_000), (0, 7, ASKED), (1, 8, ASKED), (2, 2, 9_500), (3, 3, 200)]
    assert server_times(columns) == [6_000, 9_050, 6_000, 9_530, 200]
    resumption.expect([0], HEARD, ASKED)
    assert server_times(resumption.apply((told((0, 7, 100)),), TIME)) == [100]


def test_without_an_outage_nothing_is_touched() -> None:
    columns = (told((0, 7, 100)),)
    assert Resumption().apply(columns, TIME) is columns


def test_a_clock_that_was_told_late_makes_no_change_of_what_has_not_changed() -> None:
    resumption = Resumption()
    resumption.expect([0, 1], HEARD, ASKED, ahead_ns=-3_000)
    batch = (told((0, 7, 4_000)), told((1, 8, 9_990)))  # the second shows that the server is not 3,000 behind
    assert shown(resumption.apply(batch, TIME)) == [(0, 7, ASKED), (1, 8, 9_990)]


def test_a_source_whose_clock_is_behind_is_compared_by_its_clock() -> None:
    resumption = Resumption()
    resumption.expect([0, 1], HEARD, ASKED, ahead_ns=-3_000)
    batch = (told((0, 7, 4_000), (1, 8, 6_900)),)  # changed during the outage, and after the asking
    assert shown(resumption.apply(batch, TIME)) == [(0, 7, 4_000), (0, 7, ASKED), (1, 8, 6_900)]


def test_a_source_whose_clock_is_ahead_is_compared_by_its_clock() -> None:
    resumption = Resumption()
    resumption.expect([0, 1], HEARD, ASKED, ahead_ns=3_000)
    batch = (told((0, 7, 8_500), (1, 8, 12_500)),)  # changed during the outage, and after the asking
    assert shown(resumption.apply(batch, TIME)) == [(0, 7, 8_500), (0, 7, ASKED), (1, 8, 12_500)]
