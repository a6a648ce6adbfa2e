"""What the server tells of its types, asked once for each session: fields of structures, texts of numbers."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua

from edge_agent_opcua.binary import BuiltIn
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.node_types import built_in_of, texts_of
from edge_agent_opcua.structure import MAX_FIELDS, Definition, Definitions, FieldType, Form

MAX_TYPES = 1000  # of one server; what is beyond stays unknown

_FORMS = {
    ua.StructureType.Structure: Form.PLAIN,
    ua.StructureType.StructureWithOptionalFields: Form.OPTIONAL,
    ua.StructureType.Union: Form.UNION,
}
_ONE_DIMENSION = (0, 1)  # ValueRank; 0, one or more, is none that a field may have, and nothing larger is known
_ANY_VALUE = ua.ObjectIds.BaseDataType

Attributes = Callable[[Sequence[Any], int], Awaitable[Sequence[Any]]]
"""Reads one attribute of nodes: a DataValue for each. May raise what ``translation.FOREIGN`` names."""


@dataclass(frozen=True, slots=True)
class Types:
    """What was learned.

    Attributes:
        definitions: of the structures that points are fields of.
        texts: of the numbers of points, by point.
    """

    definitions: Definitions = field(default_factory=dict)
    texts: Mapping[int, Mapping[int, str]] = field(default_factory=dict)


async def learn(service: Any, read: Attributes, fields: Mapping[int, Any], labels: Mapping[int, Any]) -> Types:
    """Ask the server.

    Args:
        service: the library's ``uaclient``.
        read: see ``Attributes``.
        fields: the library's node ids of the variables of which points are fields, by point.
        labels: the same of the variables whose numbers shall be texts.
    """
    nodes = list(dict.fromkeys([*fields.values(), *labels.values()]))
    if not nodes:
        return Types()
    told = await read(nodes, ua.AttributeIds.DataType)
    type_of = {
        node: data_type
        for node, one in zip(nodes, told, strict=True)
        if isinstance(data_type := _content(one), ua.NodeId)
    }
    definitions = await structures_of(service, read, [type_of[it] for it in fields.values() if it in type_of])
    return Types(definitions, await _texts(service, labels, type_of))


async def _texts(
    service: Any, labels: Mapping[int, Any], type_of: Mapping[Any, Any]
) -> Mapping[int, Mapping[int, str]]:
    of_type: dict[Any, dict[int, str]] = {}
    result: dict[int, dict[int, str]] = {}
    for point, node in labels.items():
        data_type = type_of.get(node)
        if data_type is None:
            continue
        # Variables of a built-in type may have texts of their own; those of an enumeration share them.
        key = node if data_type.NamespaceIndex == 0 else data_type
        if key not in of_type:
            built_in = await built_in_of(service, data_type)
            of_type[key] = dict(await texts_of(service, [node, data_type], built_in or 0))
        result[point] = of_type[key]
    return result


async def structures_of(service: Any, read: Attributes, types: Iterable[Any]) -> Mapping[NodeAddress, Definition]:
    """Return the definitions of ``types`` and of all that is inside of them.

    Args:
        service: the library's ``uaclient``.
        read: see ``Attributes``.
        types: the library's node ids of data types.
    """
    known: dict[NodeAddress, Definition] = {}
    kinds: dict[Any, Any] = {}
    waiting = list(dict.fromkeys(types))
    while waiting and len(kinds) < MAX_TYPES:
        told = await read(waiting, ua.AttributeIds.DataTypeDefinition)
        definitions = dict(zip(waiting, map(_content, told), strict=True))
        kinds |= definitions
        structures = [one for one in definitions.values() if isinstance(one, ua.StructureDefinition)]
        inside = dict.fromkeys(part.DataType for one in structures for part in one.Fields or ())
        waiting = [data_type for data_type in inside if data_type not in kinds]
    built_in = {node: await _built_in(service, node, kinds.get(node)) for node in kinds}
    for node, told in kinds.items():
        if isinstance(told, ua.StructureDefinition):
            definition = _definition(told, kinds, built_in)
            if definition is not None:
                known[address_of(node)] = known[address_of(told.DefaultEncodingId)] = definition
    return known


def address_of(node: Any) -> NodeAddress:
    """Return the library's node id as ours."""
    return NodeAddress(node.Identifier, "", node.NamespaceIndex)


def _definition(told: Any, kinds: Mapping[Any, Any], built_in: Mapping[Any, int | None]) -> Definition | None:
    """Return the definition; None if there is something in it that nobody could read."""
    form = _FORMS.get(told.StructureType)
    if form is None or len(told.Fields or ()) > MAX_FIELDS:
        return None
    fields = []
    for part in told.Fields or ():
        is_structure = isinstance(kinds.get(part.DataType), ua.StructureDefinition)
        kind = BuiltIn.EXTENSION_OBJECT if is_structure else built_in.get(part.DataType)
        if kind is None:
            return None
        inside = address_of(part.DataType) if is_structure else None
        is_optional = form is Form.OPTIONAL and bool(part.IsOptional)
        rank = part.ValueRank
        sizes = tuple(part.ArrayDimensions or ()) if rank > 1 else ()
        fields.append(
            FieldType(str(part.Name), kind, inside, rank in _ONE_DIMENSION, is_optional, rank > 1, sizes)
        )
    return Definition(form, tuple(fields))


async def _built_in(service: Any, node: Any, told: Any) -> int | None:
    """Return what a data type that is no structure is on the wire."""
    if isinstance(told, ua.EnumDefinition):
        return int(BuiltIn.INT32)
    if isinstance(told, ua.StructureDefinition):
        return int(BuiltIn.EXTENSION_OBJECT)
    if node.NamespaceIndex == 0 and node.Identifier == _ANY_VALUE:
        return int(BuiltIn.VARIANT)
    return await built_in_of(service, node)


def _content(told: Any) -> Any:
    is_there = told.Value is not None and (told.StatusCode is None or not told.StatusCode.is_bad())
    return told.Value.Value if is_there else None
