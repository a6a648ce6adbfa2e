"""From a value to exactly what a node of one data type takes: the inverse of ``decode``. Pure."""

import math
import re
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

Value = bool | int | float | str | bytes
Encoded = Value | uuid.UUID | datetime

# OPC 10000-6 §5.1.2 table 1: identifiers of the built-in types.
BOOLEAN, FLOAT, DOUBLE, STRING, DATE_TIME, GUID, BYTE_STRING, LOCALIZED_TEXT = 1, 10, 11, 12, 13, 14, 15, 21
_WHOLE = {2: "SByte", 3: "Byte", 4: "Int16", 5: "UInt16", 6: "Int32", 7: "UInt32", 8: "Int64", 9: "UInt64"}
_TEXTS = {STRING: "String", DATE_TIME: "DateTime", GUID: "Guid", LOCALIZED_TEXT: "LocalizedText"}
NAMES = {BOOLEAN: "Boolean", FLOAT: "Float", DOUBLE: "Double", BYTE_STRING: "ByteString"} | _WHOLE | _TEXTS
"""Those that can be written; the others (structures, NodeIds, StatusCodes …) cannot."""

_BITS = {2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 32, 8: 64, 9: 64}
_SIGNED = frozenset({2, 4, 6, 8})
_FLOAT_PRECISION = 2**-24  # half of the last binary digit
_EARLIEST = datetime(1601, 1, 2, tzinfo=UTC)  # OPC 10000-6 §5.2.2.5: what is earlier is sent as 0, "no time"
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)
_FINER_THAN_US = re.compile(r"\.\d{6}\d*[1-9]")


@dataclass(frozen=True, slots=True)
class NodeType:
    """What one variable, or one argument of a method, takes.

    Attributes:
        built_in: identifier of the built-in type that goes over the wire.
        is_array: it takes arrays, which no value of ours is.
        texts: numbers and their texts, of an enumeration; of false and true, if they have texts.
    """

    built_in: int
    is_array: bool = False
    texts: Sequence[tuple[int, str]] = ()


def encode(node: NodeType, value: Value) -> Encoded:
    """Return the one value of the node's type that is read as ``value``.

    Raises:
        ValueError: there is none. Nothing is cut, clamped or rounded to another step; the message says why.
    """
    name = NAMES.get(node.built_in)
    if node.is_array or name is None:
        raise ValueError("arrays cannot be written" if node.is_array else "values of its type cannot be written")
    if node.texts:
        return _number_of_text(node, value)
    if node.built_in == BOOLEAN:
        if value is not True and value is not False:
            raise ValueError(f"{value!r} is not true or false")
        return value
    if node.built_in in _WHOLE or node.built_in in {FLOAT, DOUBLE}:
        return _number(node.built_in, value)
    if node.built_in == BYTE_STRING:
        if not isinstance(value, bytes):
            raise ValueError(f"{value!r} is no {name}: it takes bytes")
        return value
    if isinstance(value, str):
        return _text(node.built_in, value)
    raise ValueError(f"{value!r} is no {name}: it takes a text")


def is_same(built_in: int, sent: Encoded, got: object) -> bool:
    """Return whether ``got`` reads back as what was ``sent``, as far as the type goes."""
    if built_in in {STRING, LOCALIZED_TEXT, BYTE_STRING} and not sent:
        return not got  # null and empty are one for most servers
    return type(got) is type(sent) and got == sent


def _number_of_text(node: NodeType, value: Value) -> Encoded:
    if isinstance(value, str):
        numbers = [number for number, text in node.texts if text == value]
        if len(numbers) != 1:
            why = "stands for several numbers" if numbers else f"is none of {[text for _, text in node.texts]}"
            raise ValueError(f"{value!r} {why}")
        return bool(numbers[0]) if node.built_in == BOOLEAN else numbers[0]
    if node.built_in == BOOLEAN:
        return encode(NodeType(BOOLEAN), value)
    number = _number(node.built_in, value)
    if number not in {known for known, _ in node.texts}:
        raise ValueError(f"{value!r} is no value of the enumeration: {dict(node.texts)}")
    return number


def _number(built_in: int, value: Value) -> Encoded:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == math.inf:  # noqa: PLR0124 - NaN
        raise ValueError(f"{value!r} is not a number")
    if built_in in _WHOLE:
        if value != int(value):
            raise ValueError(f"{value!r} is not a whole number, which {NAMES[built_in]} takes")
        bits = _BITS[built_in]
        first = -(1 << bits - 1) if built_in in _SIGNED else 0
        if not first <= value < first + (1 << bits):
            raise ValueError(f"{value!r} is no {NAMES[built_in]}: {first} to {first + (1 << bits) - 1}")
        return int(value)
    try:
        got = (
            float(value) if built_in == DOUBLE else float(struct.unpack("<f", struct.pack("<f", float(value)))[0])
        )
    except OverflowError:
        raise ValueError(f"{value!r} is too large for {NAMES[built_in]}") from None
    if got != value and (built_in == DOUBLE or abs(got - value) > _FLOAT_PRECISION * abs(value)):
        raise ValueError(f"{value!r} cannot be written as {NAMES[built_in]}: it would be read as {got!r}")
    return got


def _text(built_in: int, text: str) -> Encoded:
    try:
        text.encode()
        if built_in == GUID:
            return uuid.UUID(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {NAMES[built_in]}") from None
    return _time(text) if built_in == DATE_TIME else text


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write 2026-11-23T08:05:06.123456Z") from None
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no zone; end it with Z for UTC")
    if _FINER_THAN_US.search(text):
        raise ValueError(f"{text!r} is finer than microseconds")
    if not _EARLIEST <= time <= _LATEST:
        raise ValueError(f"{text!r} is not between 1601 and 9999")
    return time.astimezone(UTC)
