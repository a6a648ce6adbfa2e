"""Which variables are points because a server has them, and what they are called."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.collect.packed import Packed
from edge_agent.driver import RangeModel
from edge_agent.model import ReadingClass, check_id
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.entry import OpcUaBrowse
from edge_agent_opcua.found import Described, Found, FoundNode, settle


def device(*entries: dict[str, Any], **more: Any) -> OpcUaDevice:
    return OpcUaDevice.model_validate(
        {"id": "cnc", "driver": "opcua", "url": "opc.tcp://plc", "browse": list(entries)} | more
    )


def node(path: str, address: str = "", unit: str = "", twin: int = 0, below: str = "i=85") -> FoundNode:
    return FoundNode(below, tuple(path.split("/")), twin, address or f"nsu=u;s={path}.{twin}", Described(unit))


def names(config: OpcUaDevice, *nodes: FoundNode) -> list[str]:
    return [point.name for point in config.with_found(Found(nodes).to_text()).points]


def entries(*globs: str, **more: Any) -> list[OpcUaBrowse]:
    return [OpcUaBrowse.model_validate({"match": glob} | more) for glob in globs]


def test_found_points_come_behind_the_written_ones_and_are_as_their_entry_says() -> None:
    written = {"name": "program", "node": "nsu=u;s=Program"}
    entry = {"match": "Spindle/*", "class": "counter", "interval": "250ms", "identifier": True, "prefix": "m1_"}
    entry |= {"deadband": {"absolute": 0.5, "max_silence": "1min"}, "mode": "poll"}
    config = device(entry, points=[written])
    found = Found((FoundNode("i=85", ("Spindle", "ActSpeed"), 0, "nsu=u;i=7", Described("{rev}/min", (0, 9000))),))
    program, speed = config.with_found(found.to_text()).points
    assert program == config.points[0]
    assert (speed.name, speed.node, speed.unit, speed.description) == (
        "m1_spindle_act_speed",
        "nsu=u;i=7",
        "{rev}/min",
        "Spindle/ActSpeed",
    )
    assert speed.range == RangeModel(low=0, high=9000)
    assert (speed.reading_class, speed.interval, speed.identifier) == (ReadingClass.COUNTER, 0.25, True)
    assert speed.deadband is not None
    assert (speed.deadband.absolute, speed.deadband.max_silence) == (0.5, 60.0)


def test_a_device_with_what_was_found_is_packed_and_equal_to_one_that_was_built_alike() -> None:
    config = device({"match": "**"})
    one, other = (config.with_found(Found((node("A/B"),)).to_text()) for _ in range(2))
    assert Packed(one) == Packed(other)
    assert Packed(one).unpack().found == one.found
    assert Packed(one).unpack().written == ()
    assert Packed(one) != Packed(config)
    assert Packed(one) != Packed(config.with_found(Found((node("A/B", unit="bar"),)).to_text()))


def test_what_is_kept_reads_back_and_what_nobody_of_ours_wrote_is_nothing() -> None:
    found = Found((node("轴/位置", unit="mm"), node("a/b", twin=1)), {"i=7": Described("bar", (0.0, 250.0))})
    assert Found.of(found.to_text()) == found
    for text in ("", "{", "[]", "{}", '{"nodes":[[1]],"written":{}}', '{"nodes":[["i=85",["a"],0,"?","",null]]}'):
        assert Found.of(text) == Found()
        assert not device({"match": "**"}).with_found(text).points
    assert Found().to_text() == ""


@pytest.mark.parametrize("limits", [[1.0, 1.0], [5.0, 1.0], [0.0, float("inf")], [float("nan"), 1.0]])
def test_a_range_that_is_none_is_not_taken(limits: list[float]) -> None:
    text = (
        Found((node("A"),)).to_text().replace("null", str(limits).replace("inf", "Infinity").replace("nan", "NaN"))
    )
    (point,) = device({"match": "**"}).with_found(text).points
    assert point.range is None


def test_names_are_ids_and_no_two_are_the_same_in_any_case() -> None:
    config = device({"match": "**"}, points=[{"name": "A_b", "node": "i=1"}])
    found = [node("A/B"), node("a/b"), node("A.B"), node("主轴"), node("转速"), node("x", twin=1), node("x" * 80)]
    given = names(config, *found, node("/".join(["Level"] * 20)))
    assert len({check_id(name).casefold() for name in given}) == len(given) == 9
    assert all(name.startswith("a_b_") for name in given[1:4])
    assert all(name.startswith("point_") for name in given[4:6])


def test_a_name_depends_on_the_way_to_the_node_and_not_on_its_id_or_neighbours() -> None:
    config = device({"match": "**"})
    assert names(config, node("Spindle/Speed", "nsu=u;i=1")) == ["spindle_speed"]
    assert names(config, node("Axis/Speed"), node("Spindle/Speed", "nsu=u;i=2"))[1] == "spindle_speed"


def test_a_written_point_wins_over_a_found_one() -> None:
    config = device({"match": "**"}, points=[{"name": "speed", "node": "nsu=u;s=S"}])
    assert names(config, node("Spindle/Speed", "nsu=u;s=S"), node("Feed")) == ["speed", "feed"]
    part = device({"match": "**"}, points=[{"name": "x", "node": "nsu=u;s=S", "element": 0}])
    assert names(part, node("Axes", "nsu=u;s=S")) == ["x", "axes"]


def test_the_first_entry_that_matches_has_it_and_found_twice_is_once() -> None:
    config = device({"match": "Spindle/*", "prefix": "s_"}, {"match": "**", "max_points": 2})
    found = [node("Spindle/Speed"), node("Feed"), node("Load", "nsu=u;s=Feed.0"), node("Temp"), node("Torque")]
    assert names(config, *found) == ["s_spindle_speed", "feed", "temp"]


def test_what_an_entry_no_longer_asks_for_is_no_point() -> None:
    found = (node("Spindle/Speed"), node("Spindle/Diag/Errors"), node("Feed"))
    assert names(device({"match": "Spindle/**", "exclude": ["**/Diag/**"]}), *found) == ["spindle_speed"]
    assert names(device({"match": "**", "below": "i=99"}, points=[{"name": "a", "node": "i=1"}]), *found) == ["a"]


def test_a_written_point_has_the_units_of_the_server_unless_it_has_its_own() -> None:
    points = [
        {"name": "a", "node": "i=1"},
        {"name": "b", "node": "i=1", "unit": "psi", "range": {"low": 1, "high": 2}},
        {"name": "c", "node": "i=1", "field": "X"},
        {"name": "d", "node": "i=2"},
    ]
    config = device(points=points, browse=[])
    told = Found((), {"i=1": Described("bar", (0.0, 250.0))})
    a, b, c, d = config.with_found(told.to_text()).points
    assert (a.unit, a.range) == ("bar", RangeModel(low=0, high=250))
    assert (b.unit, b.range) == ("psi", RangeModel(low=1, high=2))
    assert (c.unit, d.unit) == ("", "")


def test_what_was_a_point_keeps_its_place_and_new_ones_come_behind_in_order() -> None:
    before = [node("M"), node("B")]
    settled = settle(entries("**"), before, [node("A"), node("B"), node("Z"), node("M", "nsu=u;i=9")])
    assert [one.path[0] for one in settled.nodes] == ["M", "B", "A", "Z"]
    assert settled.nodes[0].node == "nsu=u;i=9"
    assert {path for _, path, _ in settled.new} == {("A",), ("Z",)}
    assert not settled.gone


def test_what_is_gone_stays_until_its_place_is_needed() -> None:
    before = [node("A"), node("B"), node("C")]
    settled = settle(entries("**", max_points=3), before, [node("C")])
    assert ([one.path[0] for one in settled.nodes], len(settled.gone)) == (["A", "B", "C"], 2)
    settled = settle(entries("**", max_points=3), before, [node("C"), node("D")])
    assert [one.path[0] for one in settled.nodes] == ["A", "C", "D"]
    settled = settle(entries("**"), before, [node("A"), node("B"), node("Renamed", "nsu=u;s=C.0")])
    assert [one.path[0] for one in settled.nodes] == ["A", "B", "Renamed"]


def test_no_more_than_the_bound_are_points_and_the_rest_is_counted() -> None:
    seen = [node(f"P{number:03}") for number in reversed(range(50))]
    settled = settle(entries("**", max_points=20), [], seen)
    assert [one.path[0] for one in settled.nodes] == [f"P{number:03}" for number in range(20)]
    assert settled.matching == {0: 50}
    more = settle(entries("**", max_points=20), settled.nodes, [node("P000a"), *seen])
    assert more.nodes == settled.nodes
    assert more.matching == {0: 51}


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"browse": [{"match": "a//b"}]}, "a step without a name"),
        ({"browse": [{"match": "*", "below": "CNC"}]}, "is not a node id"),
        ({"browse": [{"match": "*", "prefix": "-x"}]}, "an id begins"),
        ({"browse": [{"match": "*", "max_points": 0}]}, "greater than or equal to 1"),
        ({"browse": [{"match": "*", "mode": "poll", "trigger": "status"}]}, "no meaning in mode poll"),
        ({"browse": []}, "neither `points:` nor `browse:`"),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        device(**keys)
