"""What nodes take, asked of the server: the built-in type below a data type, and the texts of its numbers."""

from collections.abc import Iterable, Sequence
from typing import Any

from asyncua import ua

from edge_agent.errors import PointRejectedError
from edge_agent_opcua.binary import BuiltIn
from edge_agent_opcua.encode import NodeType

MAX_SUBTYPES = 1000  # of one type
MAX_DEPTH = 32  # of data types below one another

_IDS, _ATTRIBUTES = ua.ObjectIds, ua.AttributeIds
_ABSTRACT = frozenset({_IDS.BaseDataType, _IDS.Number, _IDS.Integer, _IDS.UInteger})
_TEXTS = ("EnumStrings", "EnumValues", "FalseState", "TrueState")  # OPC 10000-3 §8.14, OPC 10000-8 §5.3.3


async def type_of_variable(service: Any, node_id: Any) -> NodeType:
    """Return what a variable takes.

    Args:
        service: the library's ``uaclient``.
        node_id: the library's.

    Raises:
        PointRejectedError: the server does not say.
        *translation.FOREIGN: the exchange failed.
    """
    data_type, rank, value = await _read(
        service,
        [(node_id, _ATTRIBUTES.DataType), (node_id, _ATTRIBUTES.ValueRank), (node_id, _ATTRIBUTES.Value)],
    )
    if data_type.StatusCode.is_bad() or not isinstance(data_type.Value.Value, ua.NodeId):
        raise PointRejectedError(f"the server does not tell what the node takes: {data_type.StatusCode.name}")
    built_in = await built_in_of(service, data_type.Value.Value)
    if built_in is None:  # an abstract type: what it holds now is what it takes
        built_in = value.Value.VariantType.value if value.Value is not None else 0
    dimensions = rank.Value.Value if rank.Value is not None else None
    is_array = isinstance(dimensions, int) and dimensions >= 0
    return NodeType(built_in, is_array, await texts_of(service, [node_id, data_type.Value.Value], built_in))


async def type_of_argument(service: Any, argument: Any) -> NodeType:
    """Return what an argument of a method takes; raises as ``type_of_variable``."""
    built_in = await built_in_of(service, argument.DataType)
    texts = await texts_of(service, [argument.DataType], built_in or 0)
    return NodeType(built_in or 0, argument.ValueRank >= 0, texts)


async def properties(service: Any, nodes: Sequence[Any]) -> dict[str, Any]:
    """Return the node ids of the properties of ``nodes`` by browse name, of the first node that has each."""
    found: dict[str, Any] = {}
    for _, reference in await _browse(service, nodes, ua.BrowseDirection.Forward, _IDS.HasProperty):
        found.setdefault(reference.BrowseName.Name, reference.NodeId)
    return found


async def read_values(service: Any, nodes: Sequence[Any]) -> list[Any]:
    """Return what variables hold, None where the server does not tell."""
    values = await _read(service, [(node, _ATTRIBUTES.Value) for node in nodes])
    return [value.Value.Value if value.Value is not None else None for value in values]


async def built_in_of(service: Any, data_type: Any) -> int | None:
    """Return the built-in type that values of ``data_type`` have on the wire, None if it is an abstract one."""
    for _ in range(MAX_DEPTH):
        if data_type.NamespaceIndex == 0 and isinstance(data_type.Identifier, int):
            if data_type.Identifier == _IDS.Enumeration:
                return BuiltIn.INT32
            if data_type.Identifier in _ABSTRACT:
                return None
            if 0 < data_type.Identifier <= BuiltIn.EXTENSION_OBJECT:
                return int(data_type.Identifier)
        above = await _browse(service, [data_type], ua.BrowseDirection.Inverse, _IDS.HasSubtype)
        if not above:
            break
        data_type = above[0][1].NodeId
    return None


async def subtypes_of(service: Any, data_type: Any) -> list[Any]:
    """Return a type and all that are below it, ``MAX_SUBTYPES`` at the most."""
    found = {data_type: None}
    waiting = [data_type]
    while waiting and len(found) < MAX_SUBTYPES:
        below = await _browse(service, waiting, ua.BrowseDirection.Forward, _IDS.HasSubtype)
        told = [ua.NodeId(it.NodeId.Identifier, it.NodeId.NamespaceIndex, it.NodeId.NodeIdType) for _, it in below]
        waiting = [node_id for node_id in told if node_id not in found]
        found |= dict.fromkeys(waiting)
    return list(found)[:MAX_SUBTYPES]


async def texts_of(service: Any, nodes: Sequence[Any], built_in: int) -> tuple[tuple[int, str], ...]:
    """Return the texts of the numbers of a variable or data type, if it has any."""
    if built_in > BuiltIn.UINT64:
        return ()
    found = {name: node for name, node in (await properties(service, nodes)).items() if name in _TEXTS}
    if not found:
        return ()
    told = dict(zip(found, await read_values(service, list(found.values())), strict=True))
    if built_in == BuiltIn.BOOLEAN:
        states = [(0, told.get("FalseState")), (1, told.get("TrueState"))]
        return tuple((number, text.Text or "") for number, text in states if isinstance(text, ua.LocalizedText))
    if isinstance(told.get("EnumValues"), list):
        return tuple((int(each.Value), each.DisplayName.Text or "") for each in told["EnumValues"])
    if isinstance(told.get("EnumStrings"), list):
        return tuple((number, each.Text or "") for number, each in enumerate(told["EnumStrings"]))
    return ()


async def _read(service: Any, attributes: Iterable[tuple[Any, int]]) -> list[Any]:
    wanted = [ua.ReadValueId(NodeId=node, AttributeId=attribute) for node, attribute in attributes]
    values: list[Any] = await service.read(ua.ReadParameters(NodesToRead=wanted))
    if len(values) != len(wanted):
        raise ValueError(f"{len(values)} answers to {len(wanted)} reads")
    return values


async def _browse(service: Any, nodes: Sequence[Any], direction: Any, kind: int) -> list[tuple[int, Any]]:
    """Return position of the node and reference, of all references of one kind."""
    params = ua.BrowseParameters(
        NodesToBrowse=[
            ua.BrowseDescription(
                NodeId=node,
                BrowseDirection=direction,
                ReferenceTypeId=ua.NodeId(kind),
                IncludeSubtypes=True,
                ResultMask=ua.BrowseResultMask.BrowseName,
            )
            for node in nodes
        ]
    )
    results = await service.browse(params)
    return [(position, it) for position, result in enumerate(results) for it in result.References or ()]
