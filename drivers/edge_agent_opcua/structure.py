"""What is inside of structures and arrays: from a definition and bytes to one field. Pure.

Structures are encoded as in OPC 10000-6 §5.2.6 to §5.2.8; the server tells their definitions (``definitions``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from edge_agent.model import Quality
from edge_agent_opcua.binary import MAX_DEPTH, MalformedError, Reader, Structure, Value
from edge_agent_opcua.node_id import NodeAddress

MAX_FIELDS = 1000  # of one structure
FIELDS_PER_BYTE, SPARE_FIELDS = 8, 100  # of a value: structures without fields take no bytes


class Form(Enum):
    """How the fields follow each other."""

    PLAIN = auto()
    OPTIONAL = auto()  # a mask tells which of the optional ones are there
    UNION = auto()  # a number tells which one is there


@dataclass(frozen=True, slots=True)
class FieldType:
    """One field.

    Attributes:
        kind: the built-in type on the wire; EXTENSION_OBJECT for another structure.
        data_type: node of that structure's type; None where the value itself says what it is.
    """

    name: str
    kind: int
    data_type: NodeAddress | None = None
    is_array: bool = False
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """What a type of structures is made of."""

    form: Form
    fields: tuple[FieldType, ...]


Definitions = Mapping[NodeAddress, Definition]
"""By the node of the data type, and by the node of its binary encoding."""

Step = int | str
"""The number of an element, from 0, or the name of a field."""


class NothingThereError(Exception):
    """There is no such element or field, or nobody knows what is inside.

    Attributes:
        status: the quality of such a reading.
    """

    def __init__(self, status: Quality) -> None:
        super().__init__(status.name)
        self.status = status


def follow(value: Value, path: Sequence[Step], definitions: Definitions) -> Value:
    """Return what is at ``path``; a structure on the way there, or at the end of it, is a mapping of its fields.

    Raises:
        NothingThereError: it has no such place.
        MalformedError: a structure is not what its definition says.
    """
    value = _opened(value, definitions)
    for step in path:
        value = _opened(_step(value, step), definitions)
    return value


def whole(value: Value, definitions: Definitions, depth: int = 0) -> Value:
    """Return ``value`` with the fields of every structure in it in place of bytes; raises as ``follow``."""
    if depth > MAX_DEPTH:
        raise MalformedError(f"structures in structures, more than {MAX_DEPTH} deep")
    value = _opened(value, definitions)
    content = value.content
    if value.is_array:
        inside = [one if isinstance(one, Value) else Value(value.kind, one) for one in content]
        content = [whole(one, definitions, depth + 1) for one in inside]
    elif isinstance(content, dict):
        content = {name: whole(field, definitions, depth + 1) for name, field in content.items()}
    return Value(value.kind, content, value.is_array, value.dimensions)


def _step(value: Value, step: Step) -> Value:
    if isinstance(step, int):
        if not value.is_array or step >= len(value.content):
            raise NothingThereError(Quality.BAD_INDEX_RANGE_NO_DATA)
        element = value.content[step]
        return element if isinstance(element, Value) else Value(value.kind, element)
    if value.is_array or not isinstance(value.content, dict) or step not in value.content:
        raise NothingThereError(Quality.BAD_NO_DATA)
    field: Value = value.content[step]
    return field


def _opened(value: Value, definitions: Definitions) -> Value:
    """Return ``value``, with the fields of a structure in place of its bytes."""
    if value.is_array or not isinstance(value.content, Structure):
        return value
    definition = definitions.get(value.content.type_id)
    if definition is None or value.content.body is None:
        raise NothingThereError(Quality.BAD_DATA_ENCODING_UNSUPPORTED)
    body = value.content.body
    reader = Reader(body, most=FIELDS_PER_BYTE * len(body) + SPARE_FIELDS)
    return Value(value.kind, read_fields(reader, definition, definitions))


def read_fields(
    reader: Reader, definition: Definition, definitions: Definitions, depth: int = 0
) -> dict[str, Value]:
    """Read a structure; what is not there is left out.

    Raises:
        MalformedError: it is not what the definition says.
    """
    if depth > MAX_DEPTH:
        raise MalformedError(f"structures in structures, more than {MAX_DEPTH} deep")
    reader.spend()
    fields: Sequence[FieldType] = definition.fields
    if definition.form is Form.OPTIONAL:
        fields = _present(fields, reader.uint32())
    elif definition.form is Form.UNION:
        switch = reader.uint32()
        if switch > len(fields):
            raise MalformedError(f"union of {len(fields)} with field {switch}")
        fields = fields[switch - 1 : switch] if switch else ()
    return {field.name: _read_field(reader, field, definitions, depth) for field in fields}


def _present(fields: Sequence[FieldType], mask: int) -> list[FieldType]:
    optional = [field for field in fields if field.is_optional]
    absent = {field.name for place, field in enumerate(optional) if not mask >> place & 1}
    return [field for field in fields if field.name not in absent]


def _read_field(reader: Reader, field: FieldType, definitions: Definitions, depth: int) -> Value:
    if field.data_type is None:
        if field.is_array:
            return Value(field.kind, reader.elements(field.kind), is_array=True)
        content: Any = reader.scalar(field.kind)
        return content if isinstance(content, Value) else Value(field.kind, content)
    definition = definitions.get(field.data_type)
    if definition is None:
        raise NothingThereError(Quality.BAD_DATA_ENCODING_UNSUPPORTED)
    if not field.is_array:
        return Value(field.kind, read_fields(reader, definition, definitions, depth + 1))
    count = reader.count(1)
    reader.spend(count)
    inside = [read_fields(reader, definition, definitions, depth + 1) for _ in range(count)]
    return Value(field.kind, inside, is_array=True)
