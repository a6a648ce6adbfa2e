from hypothesis import given
from hypothesis import strategies as st

from edge_agent_opcua.node_id import CORE_NAMESPACE, NodeAddress, parse_node_id

printable = st.text(min_size=1, max_size=60).filter(str.isprintable)
identifiers = st.integers(0, 0xFFFF_FFFF) | printable | st.uuids() | st.binary(min_size=1, max_size=40)
uris = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
nodes = st.builds(NodeAddress, identifiers, namespace_index=st.integers(0, 0xFFFF)) | st.builds(
    NodeAddress, identifiers, namespace_uri=uris
)


@given(nodes)
def test_what_is_written_is_read_back(node: NodeAddress) -> None:
    assert parse_node_id(str(node)) == node


@given(st.text() | st.from_regex(r"(ns=[0-9]*;|nsu=.*;)?[isgb]=.*"))
def test_any_text_is_a_node_id_or_a_value_error(text: str) -> None:
    try:
        node = parse_node_id(text)
    except ValueError:
        return
    assert parse_node_id(str(node)) == node


@given(nodes, st.lists(uris, unique=True))
def test_an_index_points_to_the_uri_that_was_meant(node: NodeAddress, namespaces: list[str]) -> None:
    index = node.index_in(namespaces)
    if node.namespace_uri and node.namespace_uri != CORE_NAMESPACE:
        assert (
            index is None if node.namespace_uri not in namespaces else namespaces[index or 0] == node.namespace_uri
        )
