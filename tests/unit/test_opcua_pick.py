"""Elements, fields and texts: what no server of the integration tests sends."""

import struct
from itertools import pairwise

import pytest
from pydantic import ValidationError

from edge_agent.model import DataType, Quality
from edge_agent_opcua.binary import BuiltIn, Structure, Value
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.pick import parse_path, picker
from edge_agent_opcua.point import OpcUaPoint
from edge_agent_opcua.structure import Definition, FieldType, Form

ENCODING, TYPE = NodeAddress(5001, "", 2), NodeAddress(3001, "", 2)
PLAIN = Definition(
    Form.PLAIN,
    (FieldType("A", BuiltIn.INT32), FieldType("B", BuiltIn.BYTE_STRING), FieldType("C", BuiltIn.DOUBLE)),
)
NESTING = Definition(Form.PLAIN, (FieldType("Inside", BuiltIn.EXTENSION_OBJECT),))
ENDLESS = Definition(Form.PLAIN, (FieldType("Inside", BuiltIn.EXTENSION_OBJECT, TYPE),))
UNION = Definition(Form.UNION, (FieldType("A", BuiltIn.INT32), FieldType("B", BuiltIn.DOUBLE)))


def read(definition: Definition, body: bytes | None, field: str) -> tuple[DataType, object, int]:
    pick = picker(parse_path(None, field), {ENCODING: definition, TYPE: definition}, None, is_field=True)
    return pick(Value(BuiltIn.EXTENSION_OBJECT, Structure(ENCODING, body)), 0)


def bad(status: Quality) -> tuple[DataType, object, int]:
    return DataType.NULL, None, status


BODY = struct.pack("<ii2sd", 7, 2, b"ab", 1.5)


def test_fields_are_found_behind_others() -> None:
    assert read(PLAIN, BODY, "C") == (DataType.FLOAT64, 1.5, 0)
    assert read(PLAIN, BODY, "B") == (DataType.BYTES, b"ab", 0)
    assert read(PLAIN, BODY, "*") == (DataType.STRING, '{"A":7,"B":"YWI=","C":1.5}', 0)


@pytest.mark.parametrize("size", range(len(BODY)))
def test_a_structure_that_is_cut_costs_its_own_point(size: int) -> None:
    assert read(PLAIN, BODY[:size], "C") == bad(Quality.BAD_DECODING_ERROR)


def test_a_length_beyond_the_structure_is_not_followed() -> None:
    assert read(PLAIN, struct.pack("<ii", 7, 2**31 - 1), "C") == bad(Quality.BAD_DECODING_ERROR)


def test_a_structure_without_bytes_or_definition_cannot_be_read() -> None:
    assert read(PLAIN, None, "A") == bad(Quality.BAD_DATA_ENCODING_UNSUPPORTED)
    pick = picker(("A",), {}, None, is_field=True)
    value = Value(BuiltIn.EXTENSION_OBJECT, Structure(ENCODING, BODY))
    assert pick(value, 0) == bad(Quality.BAD_DATA_ENCODING_UNSUPPORTED)


def matrix(kind: int, sizes: tuple[int, ...] = (), data_type: NodeAddress | None = None) -> Definition:
    """A matrix between two numbers."""
    fields = (
        FieldType("A", BuiltIn.INT32),
        FieldType("M", kind, data_type, is_matrix=True, sizes=sizes),
        FieldType("B", BuiltIn.INT32),
    )
    return Definition(Form.PLAIN, fields)


def ints(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}i", *numbers)


SIX = struct.pack("<6d", 1, 2, 3, 4, 5, 6)
NESTED, IN_A_ROW = "[[1.0,2.0,3.0],[4.0,5.0,6.0]]", "[1.0,2.0,3.0,4.0,5.0,6.0]"
OF_STRUCTURES = matrix(BuiltIn.EXTENSION_OBJECT, (), TYPE)


@pytest.mark.parametrize(
    ("definition", "told", "expected"),
    [
        (matrix(BuiltIn.DOUBLE), ints(2, 2, 3) + SIX, NESTED),
        (matrix(BuiltIn.INT32), ints(3, 1, 2, 2, 1, 2, 3, 4), "[[[1,2],[3,4]]]"),
        (matrix(BuiltIn.STRING), ints(2, 2, 1, 1) + b"x" + ints(-1), '[["x"],[null]]'),
        (OF_STRUCTURES, ints(2, 1, 1) + BODY, '[[{"A":7,"B":"YWI=","C":1.5}]]'),
        (matrix(BuiltIn.DOUBLE), ints(2, 0, 3), "[]"),
        (matrix(BuiltIn.DOUBLE), ints(2, 3, -1), "[]"),
        (matrix(BuiltIn.DOUBLE), ints(-1), "[]"),
        # As some servers send it: with one dimension. Only the definition knows more.
        (matrix(BuiltIn.DOUBLE, (2, 3)), ints(6) + SIX, NESTED),
        (matrix(BuiltIn.DOUBLE, (3, 3)), ints(6) + SIX, IN_A_ROW),
        (matrix(BuiltIn.DOUBLE), ints(6) + SIX, IN_A_ROW),
        # Either two numbers or the sizes of nothing: the definition allows one of them alone.
        (matrix(BuiltIn.INT32, (1, 2)), ints(2, 5, 0), "[[5,0]]"),
        (matrix(BuiltIn.INT32, (9, 9)), ints(2, 5, 0), "[]"),
    ],
)
def test_a_matrix_between_other_fields_is_read(definition: Definition, told: bytes, expected: str) -> None:
    inside = {ENCODING: definition, TYPE: PLAIN}
    value = Value(BuiltIn.EXTENSION_OBJECT, Structure(ENCODING, ints(7) + told + ints(8)))
    picked = {name: picker((name,), inside, None, is_field=True)(value, 0) for name in "AMB"}
    assert picked == {
        "A": (DataType.INT32, 7, 0),
        "M": (DataType.STRING, expected, 0),
        "B": (DataType.INT32, 8, 0),
    }


def test_an_element_of_a_matrix_is_found_along_its_rows() -> None:
    body = ints(7, 2, 2, 3) + SIX + ints(8)
    assert read(matrix(BuiltIn.DOUBLE), body, "M.3") == (DataType.FLOAT64, 4.0, 0)
    assert read(matrix(BuiltIn.DOUBLE), body, "M.6") == bad(Quality.BAD_INDEX_RANGE_NO_DATA)


@pytest.mark.parametrize(
    "told",
    [
        ints(2),
        ints(2, 1, 2),
        ints(1, 3),  # one dimension
        ints(2, 2**31 - 1, 2**31 - 1),
        ints(2, 1, 1) + SIX,  # more than there is room for
        ints(2, -2, 1),
        ints(101, *[1] * 100),
    ],
)
def test_a_matrix_that_is_not_what_it_says_costs_its_own_structure(told: bytes) -> None:
    body = ints(7) + told + ints(8)
    assert read(matrix(BuiltIn.DOUBLE), body, "B") == bad(Quality.BAD_DECODING_ERROR)


def test_a_matrix_that_can_be_read_in_two_ways_is_not_guessed() -> None:
    body = ints(7, 2, 1, 0, 8)
    assert read(matrix(BuiltIn.INT32, (1, 2)), body, "M") == bad(Quality.BAD_DECODING_ERROR)


def test_structures_in_structures_end_somewhere() -> None:
    body = b""
    for _ in range(500):  # the same structure, in itself
        body = b"\x01\x02\x89\x13\x01" + struct.pack("<i", len(body)) + body
    assert read(NESTING, body, "*") == bad(Quality.BAD_DECODING_ERROR)
    assert read(ENDLESS, b"", "*") == bad(Quality.BAD_DECODING_ERROR)


def test_structures_that_take_no_bytes_do_not_multiply() -> None:
    depth = 30  # each level holds the next one twice
    nodes = [NodeAddress(number, "", 2) for number in range(depth)]
    definitions = {
        node: Definition(Form.PLAIN, tuple(FieldType(name, BuiltIn.EXTENSION_OBJECT, inside) for name in "AB"))
        for node, inside in pairwise(nodes)
    } | {nodes[-1]: Definition(Form.PLAIN, ())}
    pick = picker(parse_path(None, "*"), definitions, None, is_field=True)
    value = Value(BuiltIn.EXTENSION_OBJECT, Structure(nodes[0], b""))
    assert pick(value, 0) == bad(Quality.BAD_DECODING_ERROR)
    value = Value(BuiltIn.EXTENSION_OBJECT, Structure(nodes[-3], b""))
    assert pick(value, 0) == (DataType.STRING, '{"A":{"A":{},"B":{}},"B":{"A":{},"B":{}}}', 0)


def test_a_union_has_the_field_that_it_names_or_none() -> None:
    assert read(UNION, struct.pack("<Id", 2, 2.5), "B") == (DataType.FLOAT64, 2.5, 0)
    assert read(UNION, struct.pack("<I", 0), "B") == bad(Quality.BAD_NO_DATA)
    assert read(UNION, struct.pack("<I", 3), "B") == bad(Quality.BAD_DECODING_ERROR)


def test_an_element_of_a_value_that_is_no_array_is_not_there() -> None:
    pick = picker(parse_path(0, ""), {}, None, is_field=False)
    assert pick(Value(BuiltIn.INT32, 7), 0) == bad(Quality.BAD_INDEX_RANGE_NO_DATA)
    assert pick(None, 0) == bad(Quality.BAD_WAITING_FOR_INITIAL_DATA)


def test_an_element_of_a_matrix_is_counted_along_its_rows() -> None:
    pick = picker(parse_path(3, ""), {}, None, is_field=False)
    matrix = Value(BuiltIn.INT32, [1, 2, 3, 4], is_array=True, dimensions=(2, 2))
    assert pick(matrix, Quality.UNCERTAIN) == (DataType.INT32, 4, Quality.UNCERTAIN)


def test_a_number_without_a_text_is_uncertain_and_keeps_what_the_server_says() -> None:
    pick = picker((), {}, {1: "on"}, is_field=False)
    assert pick(Value(BuiltIn.INT32, 1), 0) == (DataType.STRING, "on", 0)
    assert pick(Value(BuiltIn.INT32, 2), 0) == (DataType.STRING, "2", Quality.UNCERTAIN)
    odd = 0x0096_0000  # Good, LocalOverride
    assert pick(Value(BuiltIn.INT32, 2), odd) == (DataType.STRING, "2", odd)
    assert pick(Value(BuiltIn.BOOLEAN, True), 0) == (DataType.STRING, "on", 0)
    assert pick(Value(BuiltIn.DOUBLE, 1.0), 0) == (DataType.FLOAT64, 1.0, 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"field": "A..B"}, "is no field; write names with dots between them"),
        ({"element": -1}, "greater than or equal to 0"),
        ({"field": "A", "labels": "server"}, "labels has no meaning with field"),
        ({"events": "all", "element": 1}, "element has no meaning of events"),
    ],
)
def test_a_part_that_makes_no_sense_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OpcUaPoint.model_validate({"name": "p", "node": "i=1"} | keys)
