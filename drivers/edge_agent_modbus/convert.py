"""From the field of one point to its value and status, for whatever is more than a plain number. Pure."""

import struct
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from edge_agent.model import Quality
from edge_agent_modbus.source import Source, ValueType, factor_of
from edge_agent_modbus.times import FORMS, time_text

Conversion = Callable[[Any], tuple[Any, int]]
"""Takes what lies in the payload; returns the value and its status. The value of a Bad one means nothing."""


def compile_conversion(source: Source) -> Conversion:
    """Return what makes a value of the field of ``source``."""
    if source.value_type.is_time:
        return _compile_time(source)
    if source.value_type is ValueType.STRING:
        return _compile_text(source)
    if source.value_type is ValueType.BYTES:
        arrange, length = source.byte_order.arrange, source.length_bytes
        return lambda body: (arrange(body)[:length], Quality.GOOD)
    if source.value_type is ValueType.BOOL:
        name, bit = _compile_label(source), source.bit
        return lambda register: name(register >> bit & 1)
    return _compile_number(source)


def markers(source: Source) -> frozenset[float]:
    """Return ``source.invalid`` as the numbers that are read."""
    kind = source.value_type
    if kind.data_type.is_float:
        return frozenset(
            struct.unpack(f">{kind.format_char}", _packed(kind, marker))[0] for marker in source.invalid
        )
    return frozenset(as_read(kind, int(marker)) for marker in source.invalid)


def as_read(kind: ValueType, number: int) -> int:
    """Return a number of ``kind`` that was written as a bit pattern: 0x8000 of an int16 is -32768."""
    is_negative = kind.format_char.islower() and number >= 1 << kind.bits - 1
    return number - (1 << kind.bits) if is_negative else number


def shift_of(mask: int) -> int:
    """Return the position of the lowest bit that is set."""
    return (mask & -mask).bit_length() - 1


def _packed(kind: ValueType, number: float) -> bytes:
    return struct.pack(f">{kind.format_char}", number)


def _compile_number(source: Source) -> Conversion:
    is_bcd, mask = source.value_type.is_bcd, source.mask
    shift = shift_of(mask) if mask else 0
    no_value = markers(source)
    divisor, factor = factor_of(source.scale)
    is_scaled, offset = source.is_scaled, source.offset
    low, high = source.valid or (float("-inf"), float("inf"))
    name = _compile_label(source) if source.labels else _compile_bit_names(source) if source.bit_names else None
    nothing: Any = "" if name else 0

    def convert(number: Any) -> tuple[Any, int]:
        if is_bcd:
            try:
                number = int(f"{number:x}")
            except ValueError:
                return nothing, Quality.BAD_DECODING_ERROR
        if number in no_value:
            return nothing, Quality.BAD_OUT_OF_SERVICE
        if mask:
            number = (number & mask) >> shift
        if name is not None:
            return name(number)
        if is_scaled:
            number = number / divisor * factor + offset
        if number < low or number > high:
            return number, Quality.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED
        return number, Quality.GOOD

    return convert


def _compile_label(source: Source) -> Conversion:
    readings = {as_read(source.value_type, number): (text, int(Quality.GOOD)) for number, text in source.labels}
    return lambda number: readings.get(number) or (str(number), Quality.UNCERTAIN)


def _compile_bit_names(source: Source) -> Conversion:
    names, all_bits = dict(source.bit_names), (1 << source.value_type.bits) - 1

    def name(number: int) -> tuple[str, int]:
        number &= all_bits
        bits = [bit for bit in range(number.bit_length()) if number >> bit & 1]
        texts = [names.get(bit) or f"bit {bit}" for bit in bits]
        return "|".join(texts), Quality.GOOD if all(bit in names for bit in bits) else Quality.UNCERTAIN

    return name


def _compile_text(source: Source) -> Conversion:
    arrange, length, encoding = source.byte_order.arrange, source.length_bytes, source.encoding.value

    def convert(body: bytes) -> tuple[str, int]:
        text, _, _ = arrange(body)[:length].partition(b"\0")
        try:
            return text.rstrip(b" ").decode(encoding), Quality.GOOD
        except UnicodeDecodeError:
            return "", Quality.BAD_DECODING_ERROR

    return convert


def _compile_time(source: Source) -> Conversion:
    arrange, form, zone = source.byte_order.arrange, FORMS[source.value_type], ZoneInfo(source.time_zone)
    return lambda body: time_text(form, zone, arrange(body))
