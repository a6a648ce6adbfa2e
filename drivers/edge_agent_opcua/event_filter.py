"""What the server is asked to report of a notifier: fields and types (OPC 10000-4 §7.7, §7.22.3).

Severities are not its business: the end of an alarm may be less severe than the alarm, and has to be told.
"""

from collections.abc import Callable
from typing import Any

from asyncua import ua

from edge_agent_opcua.event import FIELDS, Field, Wanted
from edge_agent_opcua.node_id import NodeAddress

_NO_NAMESPACE = 0x7FFF  # of a browse name; the library takes no greater one


def event_filter(wanted: Wanted, find: Callable[[NodeAddress], Any]) -> Any:
    """Return the library's filter.

    Args:
        wanted: what the point gets.
        find: gives the library's node id, None where the server lacks the namespace: no event is of such a type,
            nor has it such a field.
    """
    fields = [_operand(field, find(field.namespace)) for field in (*FIELDS, *wanted.more)]
    return ua.EventFilter(fields, ua.ContentFilter(_any_of(list(map(find, wanted.types)))))


def _operand(field: Field, namespace: Any) -> Any:
    index = _NO_NAMESPACE if namespace is None else namespace.NamespaceIndex
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=ua.NodeId(field.of_type),
        BrowsePath=[ua.QualifiedName(name, index) for name in field.path],
        AttributeId=ua.AttributeIds.Value if field.path else ua.AttributeIds.NodeId,
    )


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
