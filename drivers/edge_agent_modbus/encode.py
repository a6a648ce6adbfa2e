"""From a value to the registers of a point: the inverse of ``decode``. Pure."""

import struct
from math import isclose, isfinite
from typing import Any
from zoneinfo import ZoneInfo

from edge_agent.model import Quality
from edge_agent_modbus.convert import as_read, shift_of
from edge_agent_modbus.decode import compile_decoder
from edge_agent_modbus.source import Source, ValueType, factor_of
from edge_agent_modbus.times import FORMS, time_registers

Value = bool | int | float | str | bytes

# How far the nearest number of a type may be from what was asked: half of its last binary digit.
_PRECISION = {ValueType.FLOAT16: 2**-11, ValueType.FLOAT32: 2**-24}
_DOUBLE = 1e-12  # what is lost on the way through scale and offset


def encode(source: Source, value: Value) -> bytes:
    """Return the registers that are read as ``value``; of a coil, the byte of its reply.

    A point that is a part of its register has zeros in the rest: see ``part_of_register``.

    Raises:
        ValueError: they do not exist. Nothing is rounded to another step, cut or clamped; the message says why.
    """
    try:
        body = _field(source, value)
    except (struct.error, OverflowError, TypeError, UnicodeEncodeError) as exc:
        raise ValueError(f"{value!r} is no {source.value_type.word} ({exc})") from exc
    registers = body if source.table.has_bits else source.byte_order.arrange(body)
    got, status = read_again(source, registers)
    if status == Quality.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED:
        raise ValueError(f"{value!r} is outside of valid: {list(source.valid or ())}")
    if status != Quality.GOOD or not _is_same(source, value, got):
        raise ValueError(f"{value!r} cannot be written to this point: it would be read as {got!r}")
    return registers


def read_again(source: Source, registers: bytes) -> tuple[Any, int]:
    """Return the value and the status that ``registers`` are read as."""
    (column,) = compile_decoder([source], source.address, source.size)(registers)
    return column.values and column.values[0], column.statuses[0] if column.statuses else Quality.GOOD


def part_of_register(source: Source) -> int | None:
    """Return the bits of its register that a point is, None if it is all of its registers.

    Raises:
        ValueError: it is some bits of several registers.
    """
    kind, mask = source.value_type, source.mask
    if kind is ValueType.BOOL:
        return 1 << source.bit
    if kind in {ValueType.INT8, ValueType.UINT8}:
        return (mask or 0xFF) << (8 if source.high_byte else 0)
    if not mask or mask == (1 << kind.bits) - 1:
        return None
    if source.size > 1:
        raise ValueError("some bits of several registers cannot be written and leave the others as they are")
    return int.from_bytes(source.byte_order.arrange(mask.to_bytes(2)))


def _field(source: Source, value: Value) -> bytes:
    kind = source.value_type
    if kind is ValueType.BOOL:
        is_on = _number_of(source, value) if source.labels else value
        if is_on not in {0, 1}:
            raise ValueError(f"{value!r} is not true or false")
        return bytes([int(is_on)]) if source.table.has_bits else struct.pack(">H", int(is_on) << source.bit)
    if kind.is_time and isinstance(value, str):
        return time_registers(FORMS[kind], ZoneInfo(source.time_zone), value)
    if kind is ValueType.STRING and isinstance(value, str):
        return _filled(source, value.encode(source.encoding.value))
    if kind is ValueType.BYTES and isinstance(value, bytes):
        return _filled(source, value)
    if not kind.is_number:
        raise ValueError(f"{value!r} is no {kind.word}")
    return _number(source, _number_of(source, value))


def _filled(source: Source, body: bytes) -> bytes:
    if len(body) > source.length_bytes:
        raise ValueError(f"{len(body)} bytes do not fit into {source.length_bytes}")
    return body.ljust(2 * source.size, b"\0")


def _number_of(source: Source, value: Value) -> int | float:
    """Return the number in the device that stands for ``value``, before ``mask``."""
    if source.labels or source.bit_names:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not one of the texts of this point")
        return _number_of_bits(source, value) if source.bit_names else _number_of_label(source, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    if not source.is_scaled:
        return value
    divisor, factor = factor_of(source.scale)
    return (value - source.offset) / factor * divisor


def _number_of_label(source: Source, text: str) -> int:
    numbers = [number for number, label in source.labels if label == text]
    if len(numbers) != 1:
        why = "has several numbers" if numbers else "is not one of the labels of this point"
        raise ValueError(f"{text!r} {why}")
    return numbers[0]


def _number_of_bits(source: Source, text: str) -> int:
    bits = {name: bit for bit, name in source.bit_names}
    names = text.split("|") if text else []
    unknown = [name for name in names if name not in bits]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of the bits of this point")
    return sum({1 << bits[name] for name in names})


def _number(source: Source, number: float) -> bytes:
    kind = source.value_type
    if kind.data_type.is_float:
        return struct.pack(f">{kind.format_char}", number)
    count = round(number)  # what lies between two steps is refused when it is read again
    if source.mask:
        count <<= shift_of(source.mask)
    if kind.is_bcd:
        count = int(str(count), 16)
    if source.labels or source.bit_names:
        count = as_read(kind, count)
    size_bytes = kind.bits // 8
    body = count.to_bytes(size_bytes, signed=kind.format_char.islower())
    if size_bytes == 1:
        return body + b"\0" if source.high_byte else b"\0" + body
    return body


def _is_same(source: Source, value: Value, got: object) -> bool:
    if isinstance(value, float | int) and isinstance(got, float):
        precision = _PRECISION.get(source.value_type, 0.0)
        lost = max(precision * abs(got - source.offset), _DOUBLE * max(abs(got), abs(source.offset)))
        return isclose(value, got, rel_tol=0.0, abs_tol=lost)
    return bool(value == got)
