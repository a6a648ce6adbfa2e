"""Structures that servers send, or might: some of what ``opcua_structures`` makes."""

import random
import struct

import pytest
from asyncua import ua

from edge_agent_opcua.binary import BuiltIn, Structure, Value
from edge_agent_opcua.definitions import address_of
from edge_agent_opcua.structure import whole
from tests.fuzz.opcua_structures import MATRIX, Kind, Part, StructureFuzzer, Type, compared, definitions_of


@pytest.mark.parametrize("seed", [2, 3])
def test_structures_of_all_kinds(seed: int) -> None:
    fuzzer = StructureFuzzer(random.Random(seed))
    fuzzer.run(5_000)
    assert fuzzer.outcomes["same"] > 2_000
    assert fuzzer.outcomes["void"] > 2_000
    assert fuzzer.outcomes["ambiguous"] < 20


def test_what_leaves_something_over_is_not_the_way_to_read_a_matrix() -> None:
    type_ = Type(ua.StructureType.Structure, [Part("M", Kind.Guid, MATRIX, sizes=(1, 1)), Part("B", Kind.Boolean)])
    body = struct.pack("<3i", 2, 1, 1) + bytes(24) + b"\1"
    try:
        definitions = definitions_of([type_])
        read = whole(Value(BuiltIn.EXTENSION_OBJECT, Structure(address_of(type_.node), body)), definitions)
        assert len(read.content["M"].content) == 2
        assert compared(type_, definitions, body, is_damaged=True) == "asyncua has no say"
    finally:
        type_.forget()


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_three_million_structures() -> None:
    StructureFuzzer(random.Random(4)).run(3_000_000)
