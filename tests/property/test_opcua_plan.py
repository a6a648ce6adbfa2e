from hypothesis import given
from hypothesis import strategies as st

from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.plan import chunks, reads
from edge_agent_opcua.profiles import MAX_OPERATIONS

NODES = tuple(NodeAddress(number) for number in range(3000))
points = st.sets(st.integers(0, len(NODES) - 1), max_size=200) | st.integers(0, len(NODES)).map(
    lambda n: set(range(n))
)


@given(st.lists(st.integers(), max_size=300), st.integers(1, 120))
def test_chunks_keep_every_thing_once_in_order_and_within_the_limit(things: list[int], limit: int) -> None:
    parts = [list(part) for part in chunks(things, limit)]
    assert [thing for part in parts for thing in part] == things
    assert all(1 <= len(part) <= limit for part in parts)


@given(points, points)
def test_every_point_is_in_exactly_one_read_under_its_own_node(wanted: set[int], refused: set[int]) -> None:
    requests = reads(NODES, sorted(wanted), refused)
    assert sorted(point for request in requests for point in request.points) == sorted(wanted)
    for request in requests:
        assert len(request.points) <= MAX_OPERATIONS
        assert request.nodes == tuple(NODES[point] for point in request.points)
        if refused.intersection(request.points):
            assert len(request.points) == 1


@given(points)
def test_the_plan_does_not_depend_on_the_order_of_points(wanted: set[int]) -> None:
    assert reads(NODES, sorted(wanted), frozenset()) == reads(NODES, sorted(wanted, reverse=True), frozenset())
