from array import array

import pytest

from edge_agent.model import Column, DataType, Quality
from edge_agent_opcua.cross_check import CrossCheck
from edge_agent_opcua.plan import Item
from edge_agent_opcua.point import ServerDeadband, Trigger

BAD = Quality.BAD_SENSOR_FAILURE


def told(*readings: tuple[int, float, int]) -> tuple[Column, ...]:
    points, values, statuses = zip(*readings, strict=True)
    return (Column(DataType.FLOAT64, array("H", points), array("d", values), array("I", statuses)),)


def started(*items: Item) -> CrossCheck:
    return CrossCheck(items, 100, 10, now_s=0)


def test_what_was_not_reported_by_the_second_read_is_found() -> None:
    check = started(Item(0, 1, 2), Item(1, 1, 2), Item(2, 1, 2))
    check.note(told((0, 1, 0), (1, 1, 0), (2, 1, 0)))
    assert check.due(99) == []
    assert check.due(100) == [0, 1, 2]
    assert check.compare(told((0, 5, 0), (1, 5, 0), (2, 1, 0)), 100) == frozenset()
    assert check.due(109) == []
    check.note(told((1, 5, 0)))  # that one was just on its way
    assert check.due(110) == [0]
    assert check.compare(told((0, 5, 0)), 110) == {0}
    assert check.due(209) == []
    assert check.due(210) == [0, 1, 2]


def test_what_went_back_by_the_second_read_is_left_alone() -> None:
    check = started(Item(0, 1, 2))
    check.note(told((0, 1, 0)))
    check.compare(told((0, 5, 0)), 100)
    assert check.compare(told((0, 1, 0)), 110) == frozenset()


def test_all_of_the_suspects_were_reported_after_all() -> None:
    check = started(Item(0, 1, 2))
    check.note(told((0, 1, 0)))
    check.compare(told((0, 5, 0)), 100)
    check.note(told((0, 5, 0)))
    assert check.due(110) == [0]  # a first read again
    assert check.compare(told((0, 5, 0)), 110) == frozenset()


def test_a_point_that_was_never_reported_is_for_the_retries() -> None:
    check = started(Item(0, 1, 2))
    check.compare(told((0, 5, 0)), 100)
    assert check.compare(told((0, 5, 0)), 110) == frozenset()


def test_points_of_other_modes_are_not_looked_at() -> None:
    check = started()
    check.note(told((0, 1, 0)))
    assert check.due(1e9) == []


@pytest.mark.parametrize(
    ("item", "reported", "read", "differs"),
    [
        (Item(0, 1, 2), (0, 1, 0), (0, 1, BAD), True),
        (Item(0, 1, 2), (0, 1, BAD), (0, 7, BAD), False),
        (Item(0, 1, 2), (0, 1, 0x480), (0, 1, 0), False),  # Overflow is of the notification, not of the value
        (Item(0, 1, 2, trigger=Trigger.STATUS), (0, 1, 0), (0, 7, 0), False),
        (Item(0, 1, 2, deadband=ServerDeadband(absolute=2.0)), (0, 1, 0), (0, 3, 0), False),
        (Item(0, 1, 2, deadband=ServerDeadband(absolute=2.0)), (0, 1, 0), (0, 3.1, 0), True),
        (Item(0, 1, 2, deadband=ServerDeadband(percent=2.0)), (0, 1, 0), (0, 99, 0), False),
        (Item(0, 1, 2, deadband=ServerDeadband(percent=2.0)), (0, 1, 0), (0, 99, BAD), True),
    ],
)
def test_only_what_the_server_should_have_reported_counts(
    item: Item, reported: tuple[int, float, int], read: tuple[int, float, int], *, differs: bool
) -> None:
    check = started(item)
    check.note(told(reported))
    check.compare(told(read), 100)
    assert bool(check.compare(told(read), 110)) is differs
