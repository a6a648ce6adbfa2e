"""What is learned of gaps."""

from edge_agent_modbus.decode import Source, ValueType
from edge_agent_modbus.gaps import KEY, learn_gaps, refused_gaps
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.plan import Gap, Limits, ReadRequest, plan_reads


def whole(*addresses: int, table: Table = Table.HOLDING) -> ReadRequest:
    sources = [Source(i, table, address, ValueType.UINT16) for i, address in enumerate(addresses)]
    (request,) = plan_reads(1, sources, frozenset(), Limits(gaps=True))
    return request


def test_what_is_learned_is_read_again() -> None:
    state: dict[str, str] = {}
    first, second = whole(0, 10).split(), whole(4, 8, table=Table.INPUT).split()
    learn_gaps(state, [first], first)
    learn_gaps(state, [second], second)
    assert state == {KEY: "holding 1-9, input 5-7"}
    assert refused_gaps(state) == (Gap(Table.HOLDING, 1, 10), Gap(Table.INPUT, 5, 8))


def test_only_halves_that_are_both_answered_tell_of_a_gap() -> None:
    state: dict[str, str] = {}
    halves = whole(0, 10).split()
    learn_gaps(state, [halves], halves[:1])
    learn_gaps(state, [whole(0, 1).split()], halves)
    assert state == {}


def test_a_text_that_nobody_wrote_is_no_gap() -> None:
    assert refused_gaps({KEY: "nonsense, holding 1-, holding -3, drum 1-2, holding 4-6"}) == (
        Gap(Table.HOLDING, 4, 7),
    )
    assert refused_gaps({}) == ()
