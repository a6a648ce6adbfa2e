"""Values in exactly the types of the server's nodes, or not at all."""

import re
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent_opcua.binary import BuiltIn
from edge_agent_opcua.encode import NodeType, encode, is_same

WHOLE = {2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 32, 8: 64, 9: 64}
VALVE = NodeType(6, texts=((0, "Closed"), (1, "Open"), (7, "Twice"), (8, "Twice")))
SWITCH = NodeType(BuiltIn.BOOLEAN, texts=((0, "Off"), (1, "On")))


@given(st.sampled_from(sorted(WHOLE)), st.integers(-(2**65), 2**65))
def test_a_whole_number_arrives_as_it_is_or_is_refused(built_in: int, number: int) -> None:
    bits, is_signed = WHOLE[built_in], built_in in {2, 4, 6, 8}
    fits = -(1 << bits - 1) <= number < 1 << bits - 1 if is_signed else 0 <= number < 1 << bits
    if fits:
        assert encode(NodeType(built_in), number) == number
    else:
        with pytest.raises(ValueError, match=f"{number} is no "):
            encode(NodeType(built_in), number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_arrives_as_it_is(number: float) -> None:
    assert encode(NodeType(BuiltIn.DOUBLE), number) == number


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_float_arrives_as_it_is(number: float) -> None:
    assert encode(NodeType(BuiltIn.FLOAT), number) == number


@pytest.mark.parametrize(
    ("built_in", "value", "encoded"),
    [
        (BuiltIn.FLOAT, 0.1, 0.10000000149011612),
        (6, 5.0, 5),
        (BuiltIn.DOUBLE, 5, 5.0),
        (BuiltIn.BOOLEAN, False, False),
        (BuiltIn.STRING, "齿轮", "齿轮"),
        (BuiltIn.LOCALIZED_TEXT, "x", "x"),
        (BuiltIn.BYTE_STRING, b"\0", b"\0"),
        (BuiltIn.GUID, "72962B91-FA75-4AE6-8D28-B404DC7DAF63", uuid.UUID("72962b91-fa75-4ae6-8d28-b404dc7daf63")),
        (BuiltIn.DATE_TIME, "2026-11-23T16:05:06.5+08:00", datetime(2026, 11, 23, 8, 5, 6, 500_000, UTC)),
        (BuiltIn.DATE_TIME, "2026-11-23T08:05:06.123456000Z", datetime(2026, 11, 23, 8, 5, 6, 123_456, UTC)),
    ],
)
def test_what_is_encoded_has_the_type_and_reads_back(built_in: int, value: Any, encoded: Any) -> None:
    got = encode(NodeType(built_in), value)
    assert (type(got), got) == (type(encoded), encoded)
    assert is_same(built_in, got, encoded)


@pytest.mark.parametrize(
    ("node", "value", "reason"),
    [
        (NodeType(6), True, "True is not a number"),
        (NodeType(6), "5", "'5' is not a number"),
        (NodeType(6), 5.5, "not a whole number"),
        (NodeType(6), float("nan"), "nan is not a number"),
        (NodeType(BuiltIn.DOUBLE), float("inf"), "inf is not a number"),
        (NodeType(BuiltIn.DOUBLE), 2**53 + 1, "it would be read as"),
        (NodeType(BuiltIn.DOUBLE), 10**400, "too large for Double"),
        (NodeType(BuiltIn.FLOAT), 1e-60, "it would be read as 0.0"),
        (NodeType(BuiltIn.FLOAT), 2**1023, "too large for Float"),
        (NodeType(BuiltIn.BOOLEAN), 1, "not true or false"),
        (NodeType(BuiltIn.BOOLEAN), "true", "not true or false"),
        (NodeType(BuiltIn.STRING), 5, "it takes a text"),
        (NodeType(BuiltIn.STRING), "\ud800", "is no String"),
        (NodeType(BuiltIn.BYTE_STRING), "text", "it takes bytes"),
        (NodeType(BuiltIn.GUID), "no", "is no Guid"),
        (NodeType(BuiltIn.DATE_TIME), "yesterday", "is no time"),
        (NodeType(BuiltIn.DATE_TIME), "2026-11-23T08:05:06", "has no zone"),
        (NodeType(BuiltIn.DATE_TIME), "2026-11-23T08:05:06.1234567Z", "finer than microseconds"),
        (NodeType(BuiltIn.DATE_TIME), "1600-01-01T00:00:00Z", "between 1601 and 9999"),
        (NodeType(BuiltIn.DATE_TIME), "0001-01-01T00:00:00+14:00", "between 1601 and 9999"),
        (VALVE, "Twice", "stands for several numbers"),
        (VALVE, "open", "is none of"),
        (VALVE, 2, "no value of the enumeration"),
        (SWITCH, "on", "is none of"),
        (SWITCH, 1, "not true or false"),
        (NodeType(BuiltIn.DOUBLE, is_array=True), 1.0, "1.0 is no array: it takes a text that is JSON"),
        (NodeType(BuiltIn.DOUBLE, is_array=True), "[1.0", "is no array"),
        (NodeType(BuiltIn.DOUBLE, is_array=True), "[" * 100_000, "is no array"),
        (NodeType(BuiltIn.DOUBLE, is_array=True), "[NaN]", "nan is not a number"),
        (NodeType(BuiltIn.DOUBLE, is_array=True), "[null]", "None is no element of an array of Double"),
        (NodeType(BuiltIn.DOUBLE, is_array=True), '["1"]', "'1' is not a number"),
        (NodeType(BuiltIn.DOUBLE, is_array=True), "[[1, 2], [3]]", "have different lengths"),
        (NodeType(BuiltIn.DOUBLE, is_array=True), "[[1, 2], 3]", "have different lengths"),
        (NodeType(3, is_array=True), "[1, 300]", "300 is no Byte"),
        (NodeType(BuiltIn.BYTE_STRING, is_array=True), '["no"]', "'no' is not Base64"),
        (NodeType(17), "i=85", "values of its type cannot be written"),
        (NodeType(0), 1, "values of its type cannot be written"),
    ],
)
def test_what_has_no_equal_in_the_type_is_refused(node: NodeType, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        encode(node, value)


@pytest.mark.parametrize(
    ("built_in", "text", "encoded"),
    [
        (BuiltIn.DOUBLE, "[]", []),
        (BuiltIn.DOUBLE, "[1, 2.5]", [1.0, 2.5]),
        (9, '[1, "18446744073709551615"]', [1, 2**64 - 1]),
        (8, '["-9007199254740993"]', [-(2**53) - 1]),
        (3, "[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        (BuiltIn.STRING, '["a", "", "齿轮"]', ["a", "", "齿轮"]),
        (BuiltIn.BYTE_STRING, '["AAH/"]', [b"\0\1\xff"]),
        (BuiltIn.BOOLEAN, "[true, false]", [True, False]),
    ],
)
def test_an_array_is_written_as_it_is_read(built_in: int, text: str, encoded: list[Any]) -> None:
    got = encode(NodeType(built_in, is_array=True), text)
    assert got == encoded
    assert is_same(built_in, got, encoded)
    assert not is_same(built_in, got, [*encoded, encoded])
    assert is_same(built_in, got, None) == (encoded == [])


def test_texts_stand_for_their_numbers() -> None:
    assert (encode(VALVE, "Open"), encode(VALVE, 7)) == (1, 7)
    assert (encode(SWITCH, "On"), encode(SWITCH, "Off"), encode(SWITCH, value=True)) == (True, False, True)


@pytest.mark.parametrize(
    ("built_in", "sent", "got", "same"),
    [
        (BuiltIn.STRING, "", None, True),
        (BuiltIn.BYTE_STRING, b"", None, True),
        (BuiltIn.STRING, "a", None, False),
        (6, 1, True, False),
        (BuiltIn.BOOLEAN, True, 1, False),
        (BuiltIn.DOUBLE, 1.0, 1.5, False),
        (6, 7, None, False),
    ],
)
def test_what_reads_back_is_compared_with_its_type(built_in: int, sent: Any, got: Any, *, same: bool) -> None:
    assert is_same(built_in, sent, got) is same
