import pytest

from edge_agent.browsing import FoundPoint
from edge_agent_opcua.browse.machine_tool import is_identity, is_known, recognise

URI = {"CNC-07/Identification/ProductInstanceUri": "urn:x:7", "CNC-07/Identification/SerialNumber": ""}


def point(path: str, **keys: str) -> FoundPoint:
    return FoundPoint({"node": "i=1"} | keys, "x", path, "Double", "")


@pytest.mark.parametrize(
    ("path", "name", "keys"),
    [
        ("CNC-07/Monitoring/MachineTool/OperationMode", "operation_mode", {"class": "event"}),
        ("CNC-07/Monitoring/MachineTool/MachineryItemState/CurrentState", "state", {"class": "event"}),
        ("CNC-07/MachineryBuildingBlocks/MachineryItemState/CurrentState", "state", {"class": "event"}),
        ("CNC-07/Monitoring/Channel1/ChannelState", "Channel1_state", {"class": "event"}),
        ("CNC-07/Monitoring/Channel1/ChannelModifiers/DryRun", "Channel1_DryRun", {"class": "event"}),
        ("CNC-07/Monitoring/Spindle/Override", "Spindle_override", {"unit": "%"}),
        ("CNC-07/Production/ActiveProgram/Name", "program", {"class": "event"}),
        ("CNC-07/Production/Statistics/PartsProducedInLifetime", "parts_produced", {"class": "counter"}),
    ],
)
def test_what_the_model_tells_of_is_named_after_it(path: str, name: str, keys: dict[str, str]) -> None:
    assert is_known(path)
    named, alarms = recognise([point(path)], {}).points
    assert (alarms.name, alarms.keys) == ("alarms", {"node": "i=2253", "events": "alarms"})
    assert (named.name, named.keys) == (name, {"node": "i=1"} | keys)


@pytest.mark.parametrize(
    "path", ["CNC-07/Monitoring/Spindle/Name", "CNC-07/Vendor/X", "Monitoring/MachineTool/OperationMode", ""]
)
def test_what_it_does_not_tell_of_is_left_out(path: str) -> None:
    assert not is_known(path)
    assert recognise([point(path)], {}).points == []


def test_the_servers_unit_is_truer_than_the_models() -> None:
    named, _ = recognise([point("M/Monitoring/Spindle/Override", unit="1/100")], {}).points
    assert named.keys["unit"] == "1/100"


def test_one_machine_is_labelled_with_what_it_says_of_itself() -> None:
    assert all(map(is_identity, URI))
    known = recognise([point("CNC-07/Production/ActiveProgram/Name")], URI)
    assert known.labels == {"product_instance_uri": "urn:x:7"}
    assert known.notes == ["the machine does not show: state, part counter"]


def test_several_machines_are_told_apart_and_none_is_taken_for_the_device() -> None:
    known = recognise([point(f"{name}/Production/ActiveProgram/Name") for name in ("A", "B")], URI)
    assert [one.name for one in known.points] == ["A_program", "B_program", "alarms"]
    assert known.labels == {}
    assert "2 machines (A, B)" in known.notes[0]


def test_one_that_a_filter_has_picked_is_the_device() -> None:
    other = {"B/Identification/ProductInstanceUri": "urn:x:b"}
    known = recognise([point("CNC-07/Production/ActiveProgram/Name")], URI | other)
    assert known.labels == {"product_instance_uri": "urn:x:7"}


def test_no_machine_at_all_is_told() -> None:
    assert recognise([], {}).notes == ("the server's folder of machines is empty",)
