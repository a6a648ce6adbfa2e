from array import array

from edge_agent.model import Column, DataType
from edge_agent_opcua.delivered import Delivered


def told(point: int, *offsets: int) -> tuple[Column, ...]:
    count = len(offsets)
    points, values = array("H", [point] * count), array("h", [1] * count)
    return (Column(DataType.INT16, points, values, None, array("q", offsets)),)


def test_what_is_older_than_the_window_is_let_go() -> None:
    delivered = Delivered(100)
    delivered.note(1000, told(0, -5))
    delivered.note(1050, told(0, -5, 0))
    delivered.note(1101, told(1, 0))
    assert delivered.of([0, 1]) == {(0, 1045), (0, 1050), (1, 1101)}
    assert delivered.of([1]) == {(1, 1101)}


def test_nothing_is_let_go_until_the_outage_is_fetched_and_only_the_first_moments_after_it_are_kept() -> None:
    delivered = Delivered(100)
    delivered.note(1000, told(0, 0))
    delivered.hold(9000)
    delivered.note(9050, told(0, 0))
    delivered.note(9101, told(0, 0))
    assert delivered.of([0]) == {(0, 1000), (0, 9050)}
    delivered.release()
    delivered.note(9200, told(0, 0))
    assert delivered.of([0]) == {(0, 9200)}
