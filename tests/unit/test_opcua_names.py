import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model import check_id
from edge_agent_opcua.names import Names, snake_case


@pytest.mark.parametrize(
    ("browse_name", "name"),
    [
        ("SpindleSpeed", "spindle_speed"),
        ("Spindle.Speed[1]", "spindle_speed_1"),
        ("DB1.Word-7", "db1_word_7"),
        ("HTTPPort", "http_port"),
        ("主轴转速", ""),
        ("轴X", "x"),
    ],
)
def test_names_are_made_of_what_fits_into_an_id(browse_name: str, name: str) -> None:
    assert snake_case(browse_name) == name


def test_a_name_is_as_short_as_it_can_be_and_names_its_parents_where_it_must() -> None:
    names = Names()
    assert names.name(("Machine", "Axis1", "Position")) == "position"
    assert names.name(("Machine", "Axis2", "Position")) == "axis2_position"
    assert names.name(("Mill", "Axis2", "Position")) == "mill_axis2_position"
    assert names.name(("Mill", "Axis2", "Position")) == "mill_axis2_position_1"
    assert names.name(("主轴",)) == "point_1"


@given(st.lists(st.lists(st.text(max_size=80), max_size=4).map(tuple), max_size=40))
def test_every_name_fits_as_an_id_and_none_comes_twice(paths: list[tuple[str, ...]]) -> None:
    names = Names()
    given_names = [names.name(path) for path in paths]
    assert len(set(given_names)) == len(paths)
    assert all(check_id(name) == name for name in given_names)
