"""The nearest value that a point can hold, so that any signal can drive any type. Pure."""

import struct
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite

from edge_agent_modbus.encode import Value, encode
from edge_agent_modbus.source import Source, ValueType, factor_of
from edge_agent_modbus.times import FORMS

_LARGEST = {"e": 65504.0, "f": 3.4028234663852886e38, "d": 1.7976931348623157e308}


class Register:
    """Makes registers of the values of one point; remembers the last ones."""

    def __init__(self, source: Source) -> None:
        self._source = replace(source, valid=None, invalid=())  # a device may well have what is not plausible
        self._last: tuple[Value, list[int]] | None = None

    def words(self, value: Value) -> list[int]:
        """Return the registers, or the coil, that hold ``value``; a number comes as near as the type can.

        A whole number beyond what the type can count begins again at its lowest value.

        Raises:
            ValueError: a text or number that has no meaning for the point.
        """
        fitting = fit(self._source, value)
        if self._last is None or self._last[0] != fitting:
            body = encode(self._source, fitting)
            words = list(body) if self._source.table.has_bits else [w for (w,) in struct.iter_unpack(">H", body)]
            self._last = fitting, words
        return self._last[1]


def fit(source: Source, value: Value) -> Value:
    """Return the value nearest to ``value`` that ``source`` can hold; what has no nearest one stays."""
    kind = source.value_type
    fitting = value
    if isinstance(value, int | float):
        if source.labels:
            fitting = source.labels[int(value) % len(source.labels)][1]
        elif source.bit_names:
            fitting = "|".join(name for bit, name in source.bit_names if int(value) >> bit & 1)
        elif kind is ValueType.BOOL:
            fitting = bool(value)
        elif kind.is_time:
            fitting = _time(kind, int(value))
        elif kind.is_number:
            fitting = _fit_number(source, value)
    if kind is ValueType.STRING and not isinstance(value, bytes):
        fitting = _cut(str(value), source)
    elif kind is ValueType.BYTES:
        body = value if isinstance(value, bytes) else str(value).encode()
        fitting = body[: source.length_bytes].ljust(source.length_bytes, b"\0")
    return fitting


def _time(kind: ValueType, seconds: int) -> str:
    digits = FORMS[kind].digits
    fraction = "." + "0" * digits if digits else ""
    return datetime.fromtimestamp(seconds, UTC).strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z")


def _cut(text: str, source: Source) -> str:
    """Return as many characters of ``text`` as there is room for."""
    while len(text.encode(source.encoding.value, "replace")) > source.length_bytes:
        text = text[:-1]
    return text


def _fit_number(source: Source, value: float) -> Value:
    kind = source.value_type
    divisor, factor = factor_of(source.scale)
    number: float = (value - source.offset) / factor * divisor if source.is_scaled else value
    if kind.data_type.is_float and not (source.is_scaled and kind.is_integer) and kind.format_char in _LARGEST:
        largest = _LARGEST[kind.format_char]
        bounded = min(max(float(number), -largest), largest) if isfinite(number) else 0.0
        (number,) = struct.unpack(f">{kind.format_char}", struct.pack(f">{kind.format_char}", bounded))
    else:
        low, high = ends(source)
        number = (round(number) - low) % (high - low + 1) + low
    return number / divisor * factor + source.offset if source.is_scaled else number


def ends(source: Source) -> tuple[int, int]:
    """Return the least and the largest whole number in the device, before ``scale``."""
    kind = source.value_type
    if source.mask:
        return 0, (1 << source.mask.bit_count()) - 1
    if kind.is_bcd:
        return 0, 10 ** (kind.bits // 4) - 1
    if kind.format_char.islower():
        return -(1 << kind.bits - 1), (1 << kind.bits - 1) - 1
    return 0, (1 << kind.bits) - 1
