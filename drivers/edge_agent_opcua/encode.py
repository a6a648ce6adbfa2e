"""From a value to exactly what a node of one data type takes: the inverse of ``decode``. Pure."""

import base64
import json
import math
import re
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from edge_agent_opcua.binary import FIXED, BuiltIn

Value = bool | int | float | str | bytes
Encoded = Value | uuid.UUID | datetime | list["Encoded"]

_WHOLE: dict[int, str] = {
    BuiltIn.SBYTE: "SByte",
    BuiltIn.BYTE: "Byte",
    BuiltIn.INT16: "Int16",
    BuiltIn.UINT16: "UInt16",
    BuiltIn.INT32: "Int32",
    BuiltIn.UINT32: "UInt32",
    BuiltIn.INT64: "Int64",
    BuiltIn.UINT64: "UInt64",
}
NAMES = _WHOLE | {
    BuiltIn.BOOLEAN: "Boolean",
    BuiltIn.FLOAT: "Float",
    BuiltIn.DOUBLE: "Double",
    BuiltIn.STRING: "String",
    BuiltIn.DATE_TIME: "DateTime",
    BuiltIn.GUID: "Guid",
    BuiltIn.BYTE_STRING: "ByteString",
    BuiltIn.LOCALIZED_TEXT: "LocalizedText",
}
"""Those that can be written; the others (structures, NodeIds, StatusCodes …) cannot."""

_FLOAT_PRECISION = 2**-24  # half of the last binary digit
_EARLIEST = datetime(1601, 1, 2, tzinfo=UTC)  # OPC 10000-6 §5.2.2.5: what is earlier is sent as 0, "no time"
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)
_FINER_THAN_US = re.compile(r"\.\d{6}\d*[1-9]")


@dataclass(frozen=True, slots=True)
class NodeType:
    """What one variable, or one argument of a method, takes.

    Attributes:
        built_in: identifier of the built-in type that goes over the wire.
        is_array: it takes arrays, which are read and written as JSON.
        texts: numbers and their texts, of an enumeration; of false and true, if they have texts.
    """

    built_in: int
    is_array: bool = False
    texts: Sequence[tuple[int, str]] = ()


def encode(node: NodeType, value: Value) -> Encoded:
    """Return the one value of the node's type that is read as ``value``; of an array, its elements.

    Raises:
        ValueError: there is none. Nothing is cut, clamped or rounded to another step; the message says why.
    """
    if node.built_in not in NAMES:
        raise ValueError("values of its type cannot be written")
    return _array(node, value) if node.is_array else _scalar(node, value)


def is_same(built_in: int, sent: Encoded, got: object) -> bool:
    """Return whether ``got`` reads back as what was ``sent``, as far as the type goes."""
    if isinstance(sent, list):
        elements = got if isinstance(got, list) else [] if got is None else [got]
        return len(sent) == len(elements) and all(map(is_same, repeat(built_in), sent, elements))
    if built_in in {BuiltIn.STRING, BuiltIn.LOCALIZED_TEXT, BuiltIn.BYTE_STRING} and not sent:
        return not got  # null and empty are one for most servers
    return type(got) is type(sent) and got == sent


def _array(node: NodeType, value: Value) -> Encoded:
    try:
        content = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, list):
        _shape(content)
        return _elements(node, content)
    raise ValueError(f"{value!r} is no array: it takes a text that is JSON, such as [1.5,2.0]")


def _elements(node: NodeType, content: list[Any]) -> Encoded:
    return [
        _elements(node, each) if isinstance(each, list) else _scalar(node, _from_json(node.built_in, each))
        for each in content
    ]


def _shape(content: list[Any]) -> tuple[int, ...]:
    """Return the lengths of an array in each dimension.

    Raises:
        ValueError: arrays in it have different ones.
    """
    shapes = {_shape(each) if isinstance(each, list) else () for each in content}
    if len(shapes) > 1:
        raise ValueError("the arrays in the array have different lengths")
    return len(content), *(shapes.pop() if shapes else ())


def _from_json(built_in: int, element: Any) -> Value:
    """Return an element of an array as it would be written by itself; in JSON some things are texts."""
    if isinstance(element, str) and built_in in _WHOLE and element.removeprefix("-").isdecimal():
        return int(element)
    if isinstance(element, str) and built_in == BuiltIn.BYTE_STRING:
        try:
            return base64.b64decode(element, validate=True)
        except ValueError:
            raise ValueError(f"{element!r} is not Base64") from None
    if isinstance(element, bool | int | float | str):
        return element
    raise ValueError(f"{element!r} is no element of an array of {NAMES[built_in]}")


def _scalar(node: NodeType, value: Value) -> Encoded:
    name = NAMES[node.built_in]
    if node.texts:
        return _number_of_text(node, value)
    if node.built_in == BuiltIn.BOOLEAN:
        if value is not True and value is not False:
            raise ValueError(f"{value!r} is not true or false")
        return value
    if node.built_in in _WHOLE or node.built_in in {BuiltIn.FLOAT, BuiltIn.DOUBLE}:
        return _number(node.built_in, value)
    if node.built_in == BuiltIn.BYTE_STRING:
        if not isinstance(value, bytes):
            raise ValueError(f"{value!r} is no {name}: it takes bytes")
        return value
    if isinstance(value, str):
        return _text(node.built_in, value)
    raise ValueError(f"{value!r} is no {name}: it takes a text")


def _number_of_text(node: NodeType, value: Value) -> Encoded:
    if isinstance(value, str):
        numbers = [number for number, text in node.texts if text == value]
        if len(numbers) != 1:
            why = "stands for several numbers" if numbers else f"is none of {[text for _, text in node.texts]}"
            raise ValueError(f"{value!r} {why}")
        return bool(numbers[0]) if node.built_in == BuiltIn.BOOLEAN else numbers[0]
    if node.built_in == BuiltIn.BOOLEAN:
        return encode(NodeType(BuiltIn.BOOLEAN), value)
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
        bits = 8 * struct.calcsize(f"<{FIXED[built_in]}")
        first = -(1 << bits - 1) if FIXED[built_in].islower() else 0
        if not first <= value < first + (1 << bits):
            raise ValueError(f"{value!r} is no {NAMES[built_in]}: {first} to {first + (1 << bits) - 1}")
        return int(value)
    try:
        got = (
            float(value)
            if built_in == BuiltIn.DOUBLE
            else float(struct.unpack("<f", struct.pack("<f", float(value)))[0])
        )
    except OverflowError:
        raise ValueError(f"{value!r} is too large for {NAMES[built_in]}") from None
    if got != value and (built_in == BuiltIn.DOUBLE or abs(got - value) > _FLOAT_PRECISION * abs(value)):
        raise ValueError(f"{value!r} cannot be written as {NAMES[built_in]}: it would be read as {got!r}")
    return got


def _text(built_in: int, text: str) -> Encoded:
    try:
        text.encode()
        if built_in == BuiltIn.GUID:
            return uuid.UUID(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {NAMES[built_in]}") from None
    return _time(text) if built_in == BuiltIn.DATE_TIME else text


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
