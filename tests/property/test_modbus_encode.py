"""What is written is what is read: encode and decode are inverse for every type in every order."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model import Quality
from edge_agent_modbus.encode import encode, part_of_register, read_again
from edge_agent_modbus.point import ModbusPoint
from edge_agent_modbus.source import ByteOrder, Source, ValueType

NUMBERS = [kind for kind in ValueType if kind.is_number]
TEXT = st.text(st.characters(codec="gbk", exclude_characters="\0"), max_size=8).map(lambda text: text.rstrip(" "))


def source(**keys: Any) -> Source:
    return ModbusPoint.model_validate({"name": "p", "holding": 7, **keys}).source(0)


def layouts(kind: ValueType) -> list[dict[str, Any]]:
    """Return every way in which the registers of a type can lie."""
    if kind is ValueType.BOOL:
        return [{"bit": bit} for bit in range(16)]
    if kind in {ValueType.INT8, ValueType.UINT8}:
        return [{"type": kind.word, "byte": half} for half in ("low", "high")]
    length = {"length": 7} if kind in {ValueType.STRING, ValueType.BYTES} else {}
    return [{"type": kind.word, "byte_order": order.value, **length} for order in ByteOrder]


LAYOUTS = [layout for kind in ValueType for layout in layouts(kind)]


@pytest.mark.parametrize("keys", LAYOUTS, ids=lambda keys: "-".join(map(str, keys.values())))
@given(st.data())
def test_any_registers_that_are_read_are_written_by_their_value(keys: dict[str, Any], data: st.DataObject) -> None:
    point = source(**keys)
    registers = data.draw(st.binary(min_size=2 * point.size, max_size=2 * point.size))
    value, status = read_again(point, registers)
    if status == Quality.GOOD:
        assert read_again(point, encode(point, value)) == (value, Quality.GOOD)


@pytest.mark.parametrize("order", list(ByteOrder))
@pytest.mark.parametrize("kind", [kind for kind in NUMBERS if kind.bits > 8], ids=lambda kind: kind.word)
@given(st.data())
def test_the_registers_of_a_number_come_back_bit_by_bit(
    kind: ValueType, order: ByteOrder, data: st.DataObject
) -> None:
    point = source(type=kind.word, byte_order=order.value)
    registers = data.draw(st.binary(min_size=2 * point.size, max_size=2 * point.size))
    value, status = read_again(point, registers)
    if status == Quality.GOOD:
        assert encode(point, value) == registers


@pytest.mark.parametrize("kind", [kind for kind in NUMBERS if kind.is_integer], ids=lambda kind: kind.word)
@given(
    st.data(),
    st.sampled_from([0.001, 0.01, 0.1, 0.25, 0.3, 2.0, -1.0, 100.0]),
    st.sampled_from([0.0, -40.0, 273.15]),
)
def test_each_step_of_a_scaled_number_is_written(
    kind: ValueType, data: st.DataObject, scale: float, offset: float
) -> None:
    point = source(type=kind.word, scale=scale, offset=offset)
    registers = data.draw(st.binary(min_size=2 * point.size, max_size=2 * point.size))
    value, status = read_again(point, registers)
    if status == Quality.GOOD:
        again, status = read_again(point, encode(point, value))
        assert status == Quality.GOOD
        assert math.isclose(again, value, rel_tol=1e-12, abs_tol=1e-12 * abs(offset))
        if abs(value) < 2**40 * abs(scale):
            with pytest.raises(ValueError, match="would be read as"):
                encode(point, value + scale / 3)


@given(TEXT, st.sampled_from(list(ByteOrder)))
def test_chinese_texts(text: str, order: ByteOrder) -> None:
    point = source(type="string", length=16, encoding="gbk", byte_order=order.value)
    assert read_again(point, encode(point, text)) == (text, Quality.GOOD)


@given(st.integers(0, 15), st.data())
def test_masked_numbers_labels_and_bits(value: int, data: st.DataObject) -> None:
    shift = data.draw(st.integers(0, 12))
    order = data.draw(st.sampled_from(list(ByteOrder)))
    point = source(type="uint16", mask=0xF << shift, byte_order=order.value)
    registers = encode(point, value)
    part = part_of_register(point)
    assert part is not None
    assert int.from_bytes(registers) & ~part == 0
    assert read_again(point, registers) == (value, Quality.GOOD)
    named = source(
        type="int16", labels={number: f"state {number}" for number in range(16)}, byte_order=order.value
    )
    assert read_again(named, encode(named, f"state {value}")) == (f"state {value}", Quality.GOOD)
    bits = source(type="int32", bits={bit: f"b{bit}" for bit in range(32)}, byte_order=order.value)
    pattern = data.draw(st.integers(0, 2**32 - 1))
    text = "|".join(f"b{bit}" for bit in range(32) if pattern >> bit & 1)
    assert read_again(bits, encode(bits, text)) == (text, Quality.GOOD)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        ({"type": "int16"}, 32768, "32768 is no int16"),
        ({"type": "uint16"}, -1, "-1 is no uint16"),
        ({"type": "uint16"}, 1.5, "would be read as 2"),
        ({"type": "uint16"}, True, "True is not a number"),
        ({"type": "uint16"}, "7", "'7' is not a number"),
        ({"type": "float32"}, math.nan, "nan is not a number"),
        ({"type": "float32"}, 1e39, "is no float32"),
        ({"type": "float16"}, 70000.0, "is no float16"),
        ({"type": "bcd16"}, 10000, "is no bcd16"),
        ({"type": "bcd16"}, -1, "is no bcd16"),
        ({"type": "int16", "invalid": [0x8000]}, -32768, "cannot be written"),
        ({"type": "int16", "valid": [0, 100]}, 101, "outside of valid: \\[0"),
        ({"type": "int16", "scale": 0.1}, 23.456, "would be read as 23.5"),
        ({"type": "uint16", "mask": 0xF0}, 16, "cannot be written"),
        ({"type": "uint16", "labels": {0: "stop", 1: "run"}}, "jog", "'jog' is not one of the labels"),
        ({"type": "uint16", "labels": {0: "stop", 1: "run"}}, 1, "1 is not one of the texts"),
        ({"type": "uint16", "labels": {0: "x", 1: "x"}}, "x", "'x' has several numbers"),
        ({"type": "uint16", "bits": {0: "ready"}}, "ready|hot", "'hot' is not one of the bits"),
        ({"type": "string", "length": 4}, "12345", "5 bytes do not fit into 4"),
        ({"type": "string", "length": 4}, "ab ", "would be read as 'ab'"),
        ({"type": "string", "length": 4}, "a\0b", "would be read as 'a'"),
        ({"type": "string", "length": 4, "encoding": "ascii"}, "é", "'é' is no string"),
        ({"type": "bytes", "length": 4}, b"abc", "would be read as"),
        ({"bit": 3}, 2, "2 is not true or false"),
        ({"type": "unix_seconds"}, "2106-02-07T06:28:16Z", "outside of 32 bits"),
        ({"type": "unix_seconds"}, "2026-11-23 08:00", "is not a time"),
        ({"type": "time_bcd"}, "1999-12-31T23:59:59Z", "does not fit into two digits"),
        ({"type": "time_bcd", "time_zone": "Europe/Berlin"}, "2026-10-25T00:30:00Z", "cannot hold"),
        ({"type": "s7_date_and_time"}, "1989-12-31T23:59:59.000Z", "outside of DATE_AND_TIME"),
    ],
)
def test_what_the_registers_cannot_hold_is_refused(keys: dict[str, Any], value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(source(**keys), value)
