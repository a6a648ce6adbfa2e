"""What the server is asked to report of a notifier: fields and types (OPC 10000-4 §7.7, §7.22.3).

Severities are not its business: the end of an alarm may be less severe than the alarm, and has to be told.
"""

from collections.abc import Callable, Sequence
from typing import Any

from asyncua import ua

from edge_agent_opcua.event import ALWAYS, EVENT_TYPE, FIELDS, Field, Wanted
from edge_agent_opcua.node_id import NodeAddress

_NO_NAMESPACE = 0x7FFF  # of a browse name; the library takes no greater one


def event_filter(
    wanted: Wanted, find: Callable[[NodeAddress], Any], literally: Callable[[Any], Sequence[Any]] | None = None
) -> Any:
    """Return the library's filter.

    Args:
        wanted: what the point gets.
        find: gives the library's node id, None where the server lacks the namespace: no event is of such a type,
            nor has it such a field.
        literally: gives a type and those below it, for a server that takes a type for itself alone.
    """
    fields = [_operand(field, find(field.namespace)) for field in (*FIELDS, *wanted.more)]
    types = list(map(find, wanted.types))
    elements = _any_of(types) if literally is None or not types else [_one_of(types, literally)]
    return ua.EventFilter(fields, ua.ContentFilter(elements))


def _operand(field: Field, namespace: Any) -> Any:
    index = _NO_NAMESPACE if namespace is None else namespace.NamespaceIndex
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=ua.NodeId(field.of_type),
        BrowsePath=[ua.QualifiedName(name, index) for name in field.path],
        AttributeId=ua.AttributeIds.Value if field.path else ua.AttributeIds.NodeId,
    )


def _one_of(types: list[Any], literally: Callable[[Any], Sequence[Any]]) -> Any:
    """Return what every other server does by itself (OPC 10000-9 §5.5.7, OPC 10000-4 §7.7.3 OfType)."""
    wanted = [inside for node_id in types if node_id is not None for inside in literally(node_id)]
    wanted += map(ua.NodeId, ALWAYS)
    literals = [ua.LiteralOperand(ua.Variant(one, ua.VariantType.NodeId)) for one in dict.fromkeys(wanted)]
    return ua.ContentFilterElement(ua.FilterOperator.InList, [_operand(EVENT_TYPE, ua.NodeId()), *literals])


def _any_of(types: list[Any]) -> list[Any]:
    """Return ``Or(type, Or(type, … type))`` as a list of elements, in which each names later ones."""
    elements = []
    for position, node_id in enumerate(types):
        literal = ua.LiteralOperand(ua.Variant(node_id or ua.NodeId(), ua.VariantType.NodeId))
        of_type = ua.ContentFilterElement(ua.FilterOperator.OfType, [literal])
        if position < len(types) - 1:
            either = [ua.ElementOperand(2 * position + 1), ua.ElementOperand(2 * position + 2)]
            elements.append(ua.ContentFilterElement(ua.FilterOperator.Or, either))
        elements.append(of_type)
    return elements
