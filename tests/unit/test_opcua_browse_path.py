import pytest

from edge_agent_opcua.browse_path import BrowsePath, parse_address
from edge_agent_opcua.node_id import NodeAddress

NAMESPACES = ["http://opcfoundation.org/UA/", "urn:server", "http://example.com/cnc"]


def steps(text: str) -> list[tuple[int, str]] | None:
    path = parse_address(text)
    assert isinstance(path, BrowsePath)
    assert str(path) == text
    return path.indexes_in(NAMESPACES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/Objects", [(0, "Objects")]),
        ("/Objects/Server/ServerStatus", [(0, "Objects"), (0, "Server"), (0, "ServerStatus")]),
        (
            "/Objects/nsu=http://example.com/cnc;CNC/Spindle/0:Speed",
            [(0, "Objects"), (2, "CNC"), (2, "Spindle"), (0, "Speed")],
        ),
        ("/Objects/2:CNC/a&/b/c&&d/1&:x", [(0, "Objects"), (2, "CNC"), (2, "a/b"), (2, "c&d"), (2, "1:x")]),
        ("/Objects/nsu=http://nobody;CNC", None),
        ("/Objects/2:主轴 1/转速", [(0, "Objects"), (2, "主轴 1"), (2, "转速")]),
    ],
)
def test_steps_have_the_namespace_of_the_one_before(text: str, expected: list[tuple[int, str]] | None) -> None:
    assert steps(text) == expected


def test_what_does_not_begin_with_a_slash_is_a_node_id() -> None:
    assert parse_address("ns=2;s=/a/b") == NodeAddress("/a/b", "", 2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("/", "without a name"),
        ("/Objects//x", "without a name"),
        ("/Objects/", "without a name"),
        ("/Objects/2:", "without a name"),
        ("/Objects/nsu=http://example.com/cnc", "does not end with ;"),
        ("/Objects/70000:x", "greater than 65535"),
        ("/Objects/x&", "ends with &"),
        ("/x" * 33, "33 steps"),
        ("Objects/x", "is not a node id"),
    ],
)
def test_what_is_no_path_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_address(text)
