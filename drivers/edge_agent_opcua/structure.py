"""What is inside of structures and arrays: from a definition and bytes to one field. Pure.

Structures are encoded as in OPC 10000-6 §5.2.5 to §5.2.8; the server tells their definitions (``definitions``).
"""

import math
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
        is_matrix: an array of more than one dimension.
        sizes: of its dimensions at most, if the server tells them; 0 may be any (OPC 10000-3 §8.51).
    """

    name: str
    kind: int
    data_type: NodeAddress | None = None
    is_array: bool = False
    is_optional: bool = False
    is_matrix: bool = False
    sizes: tuple[int, ...] = ()


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
    return Value(value.kind, _fields(value.content.body, definition, definitions))


def _fields(body: bytes, definition: Definition, definitions: Definitions) -> dict[str, Value]:
    """Read a structure; what is not there is left out.

    A matrix has the sizes of its dimensions ahead; some servers (node-opcua, asyncua) send it as if it had one
    dimension. Which way it is, nobody tells: it is the one that leaves no byte over and fits what the definition
    says of the sizes. Where both do, and differ, the value is not guessed.

    Raises:
        MalformedError: it is not what the definition says.
    """
    ways: list[tuple[bool, dict[str, Value]]] = []
    for is_flat in (False, True):
        reading = _Reading(body, definitions, is_flat=is_flat)
        try:
            fields = reading.fields(definition)
        except MalformedError:
            if not reading.has_matrix:
                raise
            continue
        if not reading.has_matrix:
            return fields
        if reading.is_at_end:
            ways.append((reading.has_told_sizes, fields))
    likely = [fields for has_told_sizes, fields in ways if has_told_sizes] or [fields for _, fields in ways]
    if not likely or any(fields != likely[0] for fields in likely):
        raise MalformedError(f"a structure with a matrix that can be read in {len(likely)} ways")
    return likely[0]


class _Reading:
    """Reads one structure.

    Args:
        is_flat: matrices are sent as if they had one dimension.

    Attributes:
        has_matrix: one was met.
        has_told_sizes: no matrix is larger than its definition allows; of those that are flat, none is smaller.
    """

    def __init__(self, body: bytes, definitions: Definitions, *, is_flat: bool) -> None:
        self.has_matrix = False
        self.has_told_sizes = True
        self._reader = Reader(body, most=FIELDS_PER_BYTE * len(body) + SPARE_FIELDS)
        self._definitions = definitions
        self._is_flat = is_flat

    @property
    def is_at_end(self) -> bool:
        return self._reader.at == len(self._reader.data)

    def fields(self, definition: Definition, depth: int = 0) -> dict[str, Value]:
        """Read what comes next."""
        if depth > MAX_DEPTH:
            raise MalformedError(f"structures in structures, more than {MAX_DEPTH} deep")
        self._reader.spend()
        fields: Sequence[FieldType] = definition.fields
        if definition.form is Form.OPTIONAL:
            fields = _present(fields, self._reader.uint32())
        elif definition.form is Form.UNION:
            switch = self._reader.uint32()
            if switch > len(fields):
                raise MalformedError(f"union of {len(fields)} with field {switch}")
            fields = fields[switch - 1 : switch] if switch else ()
        return {field.name: self._field(field, depth) for field in fields}

    def _field(self, field: FieldType, depth: int) -> Value:
        if field.is_matrix:
            self.has_matrix = True
            return self._flat_matrix(field, depth) if self._is_flat else self._matrix(field, depth)
        if field.is_array:
            return Value(field.kind, self._elements(field, depth, None), is_array=True)
        if field.data_type is not None:
            return Value(field.kind, self.fields(self._definition(field.data_type), depth + 1))
        content: Any = self._reader.scalar(field.kind)
        return content if isinstance(content, Value) else Value(field.kind, content)

    def _matrix(self, field: FieldType, depth: int) -> Value:
        told = self._reader.sizes()
        if len(told) == 1 or any(size < -1 for size in told):
            raise MalformedError(f"a matrix of {told}")
        sizes = [max(0, size) for size in told]
        if any(most and size > most for size, most in zip(sizes, field.sizes, strict=False)):
            self.has_told_sizes = False
        elements = self._elements(field, depth, math.prod(sizes) if sizes else 0)
        return Value(field.kind, elements, is_array=True, dimensions=tuple(sizes))

    def _flat_matrix(self, field: FieldType, depth: int) -> Value:
        elements = self._elements(field, depth, None)
        is_whole = len(elements) == math.prod(field.sizes)
        if field.sizes and all(field.sizes) and not is_whole:
            self.has_told_sizes = False
        return Value(field.kind, elements, is_array=True, dimensions=field.sizes if is_whole else ())

    def _elements(self, field: FieldType, depth: int, count: int | None) -> list[Any]:
        if field.data_type is None:
            return self._reader.elements(field.kind, count)
        definition = self._definition(field.data_type)
        count = self._reader.count(1) if count is None else count
        self._reader.spend(count)
        return [self.fields(definition, depth + 1) for _ in range(count)]

    def _definition(self, data_type: NodeAddress) -> Definition:
        definition = self._definitions.get(data_type)
        if definition is None:
            raise NothingThereError(Quality.BAD_DATA_ENCODING_UNSUPPORTED)
        return definition


def _present(fields: Sequence[FieldType], mask: int) -> list[FieldType]:
    optional = [field for field in fields if field.is_optional]
    absent = {field.name for place, field in enumerate(optional) if not mask >> place & 1}
    return [field for field in fields if field.name not in absent]
