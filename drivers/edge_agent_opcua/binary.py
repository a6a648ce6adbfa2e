"""OPC UA Binary, read from bytes that nobody vouches for (OPC 10000-6 §5.2). Pure.

Every length and count is checked against what is there before anything is made of it. Numbers come out as ``int``
and ``float``, DateTimes as their ticks, text as ``str`` with lone surrogates in place of bytes that are not UTF-8.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Any
from uuid import UUID

from edge_agent_opcua.node_id import NodeAddress

MAX_DEPTH = 100  # of values in values (OPC 10000-6 §5.1.12 asks for as many)
MAX_DIMENSIONS = 100
MAX_ELEMENTS = 1_000_000  # read one by one from one message: a second of work

_UINT16, _INT32, _UINT32, _INT64 = Struct("<H"), Struct("<i"), Struct("<I"), Struct("<q")
_GUID_BYTES = 16
_TEXT_MASK, _DATA_VALUE_MASK = 0b11, 0b11_1111  # all that may be there (§5.2.2.14, §5.2.2.17)
_NONE = -1  # the length of what is null
_TWO_BYTE, _FOUR_BYTE, _NUMERIC, _STRING, _GUID, _OPAQUE = range(6)  # NodeId (§5.2.2.9)
_HAS_URI, _HAS_SERVER = 0x80, 0x40  # ExpandedNodeId (§5.2.2.10)
_IS_ARRAY, _HAS_DIMENSIONS = 0x80, 0x40  # Variant (§5.2.2.16)


class BuiltIn(IntEnum):
    """Built-in types (OPC 10000-6 §5.1.2). 26 to 31 are nobody's yet, and read as ByteStrings."""

    NULL = 0
    BOOLEAN = 1
    SBYTE = 2
    BYTE = 3
    INT16 = 4
    UINT16 = 5
    INT32 = 6
    UINT32 = 7
    INT64 = 8
    UINT64 = 9
    FLOAT = 10
    DOUBLE = 11
    STRING = 12
    DATE_TIME = 13
    GUID = 14
    BYTE_STRING = 15
    XML_ELEMENT = 16
    NODE_ID = 17
    EXPANDED_NODE_ID = 18
    STATUS_CODE = 19
    QUALIFIED_NAME = 20
    LOCALIZED_TEXT = 21
    EXTENSION_OBJECT = 22
    DATA_VALUE = 23
    VARIANT = 24
    DIAGNOSTIC_INFO = 25


FIXED: dict[int, str] = {
    BuiltIn.BOOLEAN: "?", BuiltIn.SBYTE: "b", BuiltIn.BYTE: "B", BuiltIn.INT16: "h", BuiltIn.UINT16: "H",
    BuiltIn.INT32: "i", BuiltIn.UINT32: "I", BuiltIn.INT64: "q", BuiltIn.UINT64: "Q", BuiltIn.FLOAT: "f",
    BuiltIn.DOUBLE: "d", BuiltIn.DATE_TIME: "q", BuiltIn.STATUS_CODE: "I",
}  # fmt: skip
"""Types of which each value takes the same bytes, and how ``struct`` calls it."""

_STRUCTS = {kind: Struct("<" + code) for kind, code in FIXED.items()}


class MalformedError(ValueError):
    """The bytes are not what the standard says; the message that they are part of is void."""


@dataclass(frozen=True, slots=True)
class Structure:
    """An ExtensionObject: bytes, and the node that says what they are; None: there are none, or it is XML."""

    type_id: NodeAddress
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Value:
    """A Variant.

    Attributes:
        kind: the ``BuiltIn``, or one of the reserved numbers.
        content: None if it is null; a list if ``is_array``.
        dimensions: of an array with more than one.
    """

    kind: int
    content: Any
    is_array: bool = False
    dimensions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DataValue:
    """A value with its status and its times (OPC 10000-4 §7.11); what was not sent is None, or Good."""

    value: Value | None
    status: int
    source_ticks: int | None
    server_ticks: int | None


class Reader:
    """Reads one thing after the other.

    Attributes:
        at: where the next thing begins.
    """

    __slots__ = ("_depth", "_elements", "at", "data")

    def __init__(self, data: bytes, at: int = 0, most: int = MAX_ELEMENTS) -> None:
        self.data = data
        self.at = at
        self._depth = 0
        self._elements = min(most, MAX_ELEMENTS)

    def skip(self, size: int) -> int:
        """Pass over ``size`` bytes; return where they begin."""
        at = self.at
        if size < 0 or at + size > len(self.data):
            raise MalformedError(f"{size} bytes expected at {at} of {len(self.data)}")
        self.at = at + size
        return at

    def fixed(self, form: Struct) -> Any:
        """Read what ``form`` unpacks to one thing."""
        return form.unpack_from(self.data, self.skip(form.size))[0]

    def byte(self) -> int:
        return self.data[self.skip(1)]

    def uint16(self) -> int:
        return int(self.fixed(_UINT16))

    def uint32(self) -> int:
        return int(self.fixed(_UINT32))

    def int64(self) -> int:
        return int(self.fixed(_INT64))

    def count(self, least_bytes: int) -> int:
        """Read the length of an array of things that take ``least_bytes`` or more; a null array has none."""
        count = int(self.fixed(_INT32))
        if count < _NONE or count * least_bytes > len(self.data) - self.at:
            raise MalformedError(f"{count} elements announced at {self.at} of {len(self.data)}")
        return max(0, count)

    def spend(self, elements: int = 1) -> None:
        """Take note that ``elements`` are read one by one."""
        self._elements -= elements
        if self._elements < 0:
            raise MalformedError(f"more than {MAX_ELEMENTS} elements in one message")

    def byte_string(self) -> bytes | None:
        size = int(self.fixed(_INT32))
        if size == _NONE:
            return None
        at = self.skip(size)
        return self.data[at : at + size]

    def string(self) -> str | None:
        raw = self.byte_string()
        return None if raw is None else raw.decode(errors="surrogateescape")

    def guid(self) -> UUID:
        at = self.skip(_GUID_BYTES)
        return UUID(bytes_le=self.data[at : at + _GUID_BYTES])

    def node_id(self) -> NodeAddress:
        return self._node_id(self.byte())

    def expanded_node_id(self) -> NodeAddress:
        """Read the address of a node; on which server it is does not matter."""
        form = self.byte()
        address = self._node_id(form & ~(_HAS_URI | _HAS_SERVER))
        if form & _HAS_URI:
            address = NodeAddress(address.identifier, self.string() or "", address.namespace_index)
        if form & _HAS_SERVER:
            self.uint32()
        return address

    def qualified_name(self) -> str:
        """Read a name, as ``2:Name``; of namespace 0 as ``Name``."""
        index, name = self.uint16(), self.string() or ""
        return f"{index}:{name}" if index else name

    def localized_text(self) -> str | None:
        """Read the text; its locale is passed over."""
        mask = self.byte()
        if mask > _TEXT_MASK:
            raise MalformedError(f"LocalizedText with mask {mask:#x}")
        if mask & 1:
            self.byte_string()
        return self.string() if mask & 2 else None

    def structure(self) -> Structure:
        type_id, form = self.node_id(), self.byte()
        if form > 2:  # noqa: PLR2004 - 0 no body, 1 binary, 2 XML (§5.2.2.15)
            raise MalformedError(f"ExtensionObject of form {form}")
        body = self.byte_string() if form else None
        return Structure(type_id, body if form == 1 else None)

    def diagnostics(self) -> None:
        """Pass over a DiagnosticInfo (§5.2.2.12)."""
        while True:
            self.spend()
            mask = self.byte()
            if mask & 0x80:
                raise MalformedError(f"DiagnosticInfo with mask {mask:#x}")
            self.skip(4 * (mask & 0b1111).bit_count())  # symbol, namespace, locale, text: indexes
            if mask & 0x10:
                self.byte_string()
            if mask & 0x20:
                self.skip(4)
            if not mask & 0x40:
                return

    def all_diagnostics(self) -> None:
        for _ in range(self.count(1)):
            self.diagnostics()

    def data_value(self) -> DataValue:
        """Read a value with status and times (§5.2.2.17)."""
        mask = self.byte()
        if mask > _DATA_VALUE_MASK:
            raise MalformedError(f"DataValue with mask {mask:#x}")
        value = self.variant() if mask & 0x01 else None
        status = self.uint32() if mask & 0x02 else 0
        source_ticks = self.int64() if mask & 0x04 else None
        if mask & 0x10:
            self.skip(2)  # what is finer than 100 ns
        server_ticks = self.int64() if mask & 0x08 else None
        if mask & 0x20:
            self.skip(2)
        return DataValue(value, status, source_ticks, server_ticks)

    def variant(self) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise MalformedError(f"values in values, more than {MAX_DEPTH} deep")
        form = self.byte()
        kind = form & 0b11_1111
        if kind > 31:  # noqa: PLR2004 - §5.2.2.16: the last that may ever be
            raise MalformedError(f"Variant of type {kind}")
        if form & _IS_ARRAY:
            content: Any = self.elements(kind)
            dimensions = self._dimensions(len(content)) if form & _HAS_DIMENSIONS else ()
            value = Value(kind, content, is_array=True, dimensions=dimensions)
        elif form & _HAS_DIMENSIONS:
            raise MalformedError("dimensions of what is no array")
        else:
            content = self.scalar(kind)
            # A Variant may hold Variants in an array alone. Where one holds another all the same, that is meant.
            value = content if isinstance(content, Value) else Value(kind, content)
        self._depth -= 1
        return value

    def scalar(self, kind: int) -> Any:
        """Read one thing of a built-in type."""
        return _READERS[kind](self)

    def elements(self, kind: int, count: int | None = None) -> list[Any]:
        """Read an array of things of a built-in type; without its length, if there are ``count`` of them."""
        form = _STRUCTS.get(kind)
        if form is not None:
            count = self.count(form.size) if count is None else count
            self.spend(count)
            at = self.skip(count * form.size)
            return list(Struct(f"<{count}{form.format[1:]}").unpack_from(self.data, at))
        if kind == BuiltIn.NULL:
            raise MalformedError("an array of nothing")
        count = self.count(1) if count is None else count
        self.spend(count)
        read = _READERS[kind]
        return [read(self) for _ in range(count)]

    def sizes(self) -> tuple[int, ...]:
        """Read the sizes of an array's dimensions."""
        count = self.count(_INT32.size)
        if count > MAX_DIMENSIONS:
            raise MalformedError(f"an array of {count} dimensions")
        at = self.skip(count * _INT32.size)
        sizes: tuple[int, ...] = Struct(f"<{count}i").unpack_from(self.data, at)
        return sizes

    def _dimensions(self, elements: int) -> tuple[int, ...]:
        dimensions = self.sizes()
        if any(size < 0 for size in dimensions) or (dimensions and math.prod(dimensions) != elements):
            raise MalformedError(f"{elements} elements in dimensions of {dimensions}")
        return dimensions

    def _node_id(self, form: int) -> NodeAddress:
        if form == _TWO_BYTE:
            return NodeAddress(self.byte())
        if form == _FOUR_BYTE:
            index = self.byte()
            return NodeAddress(self.uint16(), "", index)
        index = self.uint16()
        if form == _NUMERIC:
            return NodeAddress(self.uint32(), "", index)
        if form == _STRING:
            return NodeAddress(self.string() or "", "", index)
        if form == _GUID:
            return NodeAddress(self.guid(), "", index)
        if form == _OPAQUE:
            return NodeAddress(self.byte_string() or b"", "", index)
        raise MalformedError(f"NodeId of form {form}")


def _fixed(form: Struct) -> Callable[[Reader], Any]:
    return lambda reader: reader.fixed(form)


_READERS: list[Callable[[Reader], Any]] = [Reader.byte_string] * 32
_READERS[BuiltIn.NULL] = lambda _reader: None
_READERS[BuiltIn.STRING] = _READERS[BuiltIn.XML_ELEMENT] = Reader.string
_READERS[BuiltIn.GUID] = Reader.guid
_READERS[BuiltIn.NODE_ID] = Reader.node_id
_READERS[BuiltIn.EXPANDED_NODE_ID] = Reader.expanded_node_id
_READERS[BuiltIn.QUALIFIED_NAME] = Reader.qualified_name
_READERS[BuiltIn.LOCALIZED_TEXT] = Reader.localized_text
_READERS[BuiltIn.EXTENSION_OBJECT] = Reader.structure
_READERS[BuiltIn.DATA_VALUE] = Reader.data_value
_READERS[BuiltIn.VARIANT] = Reader.variant
_READERS[BuiltIn.DIAGNOSTIC_INFO] = Reader.diagnostics
for _kind, _form in _STRUCTS.items():
    _READERS[_kind] = _fixed(_form)
