"""What the server is asked to report of a notifier: fields and types (OPC 10000-4 §7.7, §7.22.3).

Severities are not its business: the end of an alarm may be less severe than the alarm, and has to be told.
"""

from collections.abc import Sequence
from typing import Any

from asyncua import ua

from edge_agent_opcua.event import FIELDS


def event_filter(types: Sequence[Any]) -> Any:
    """Return the library's filter for events of one of these types, of any if there are none.

    Args:
        types: node ids of the library, None for one that the server has no namespace for: no event is of it.
    """
    fields = [
        ua.SimpleAttributeOperand(
            TypeDefinitionId=ua.NodeId(field.of_type),
            BrowsePath=[ua.QualifiedName(name) for name in field.path],
            AttributeId=ua.AttributeIds.Value if field.path else ua.AttributeIds.NodeId,
        )
        for field in FIELDS
    ]
    return ua.EventFilter(fields, ua.ContentFilter(_any_of(types)))


def _any_of(types: Sequence[Any]) -> list[Any]:
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
