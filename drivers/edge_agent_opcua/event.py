"""Events: which fields are asked for, what an integrator may narrow them to, and the text that they become. Pure.

Source: OPC 10000-5 §6.4 (BaseEventType), OPC 10000-9 §5 (conditions and alarms), OPC 10000-4 §7.22.3.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edge_agent_opcua.node_id import NodeAddress, parse_node_id

BASE_EVENT = 2041
_RECEIVED = "ReceiveTime"  # no key of the text: those are small letters
CONDITION = 2782
_ACKNOWLEDGEABLE = 2881
_ALARM = 2915
REFRESH_START, REFRESH_END, REFRESH_REQUIRED, QUEUE_OVERFLOW = 2787, 2788, 2789, 3035
ALWAYS = (REFRESH_START, REFRESH_END, REFRESH_REQUIRED, QUEUE_OVERFLOW)  # told whatever types are wanted

TYPES = {
    "BaseEventType": BASE_EVENT,
    "SystemEventType": 2130,
    "DeviceFailureEventType": 2131,
    "ProgressEventType": 11436,
    "AuditEventType": 2052,
    "ConditionType": CONDITION,
    "DialogConditionType": 2830,
    "AcknowledgeableConditionType": _ACKNOWLEDGEABLE,
    "AlarmConditionType": _ALARM,
    "LimitAlarmType": 2955,
    "ExclusiveLimitAlarmType": 9341,
    "NonExclusiveLimitAlarmType": 9906,
    "DiscreteAlarmType": 10523,
    "OffNormalAlarmType": 10637,
    "SystemOffNormalAlarmType": 11753,
    "TripAlarmType": 10751,
}
"""Types of events that can be written by name (identifiers: NodeIds.csv of the standard)."""


CORE = NodeAddress(0)
_KEY = re.compile("[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event, as it is asked for.

    Attributes:
        key: of the text.
        of_type: where the field is defined; ``BASE_EVENT``: anywhere (OPC 10000-4 §7.7.4.5).
        path: browse names; empty: the NodeId of the condition itself.
        namespace: of the browse names, in the address of a node that does not matter.
    """

    key: str
    of_type: int
    path: tuple[str, ...]
    namespace: NodeAddress = CORE


EVENT_TYPE = Field("event_type", BASE_EVENT, ("EventType",))
FIELDS = (
    EVENT_TYPE,
    Field("event_id", BASE_EVENT, ("EventId",)),
    Field("time", BASE_EVENT, ("Time",)),
    Field("source_name", BASE_EVENT, ("SourceName",)),
    Field("source_node", BASE_EVENT, ("SourceNode",)),
    Field("severity", BASE_EVENT, ("Severity",)),
    Field("message", BASE_EVENT, ("Message",)),
    Field("condition", CONDITION, ("ConditionName",)),
    Field("condition_id", CONDITION, ()),
    Field("branch", CONDITION, ("BranchId",)),
    Field("enabled", CONDITION, ("EnabledState", "Id")),
    Field("retain", CONDITION, ("Retain",)),
    Field("comment", CONDITION, ("Comment",)),
    Field("active", _ALARM, ("ActiveState", "Id")),
    Field("state", _ALARM, ("ActiveState", "EffectiveDisplayName")),
    Field("suppressed", _ALARM, ("SuppressedOrShelved",)),
    Field("acked", _ACKNOWLEDGEABLE, ("AckedState", "Id")),
    Field("confirmed", _ACKNOWLEDGEABLE, ("ConfirmedState", "Id")),
    Field(_RECEIVED, BASE_EVENT, ("ReceiveTime",)),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a notifier a point gets.

    Attributes:
        is_of_conditions: only those that tell of a condition, such as an alarm.
        severity_min: so severe or more.
        types: of one of these, or a subtype, if there are any; the server selects them.
        more: fields that are asked for besides ``FIELDS``.
    """

    is_of_conditions: bool = False
    severity_min: int = 0
    types: tuple[NodeAddress, ...] = ()
    more: tuple[Field, ...] = ()

    def __str__(self) -> str:
        what = "conditions" if self.is_of_conditions else "events"
        more = (f"{field.key}={field.namespace}/{'/'.join(field.path)}" for field in self.more)
        return " ".join([what, str(self.severity_min), *map(str, self.types), *more])


def parse_event_type(text: str) -> NodeAddress:
    """Return the type of events that is called ``AlarmConditionType`` or ``nsu=http://example.com/cnc;i=1002``.

    Raises:
        ValueError: it is neither.
    """
    if text in TYPES:
        return NodeAddress(TYPES[text])
    if "=" not in text:
        raise ValueError(f"{text!r} is no type of events; write a node id, or one of {', '.join(TYPES)}")
    return parse_node_id(text)


def parse_event_field(key: str, text: str) -> Field:
    """Return the field that is written ``Name``, ``Name/Part`` or ``nsu=http://example.com/cnc;Name``.

    Raises:
        ValueError: it is none, or there is one of this key anyway.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key for a field: small letters, digits and _")
    if key in {field.key for field in FIELDS}:
        raise ValueError(f"{key!r} is a field that is there anyway")
    namespace, _, path = text.rpartition(";")
    names = tuple(path.split("/"))
    if not all(names):
        raise ValueError(f"{text!r} is no field of an event; write nsu=http://example.com/cnc;Name or Name/Part")
    return Field(key, BASE_EVENT, names, parse_node_id(f"{namespace};i=0" if namespace else "i=0"))


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        type_id: the library's node id of its type; None if the server did not tell.
        time_ns: when it happened; None if the server told no usable time.
        fields: what goes into the text, without ``event_type``; what the server did not tell is left out.
        received_ns: when the server came to know of it; None as above.
    """

    type_id: Any
    time_ns: int | None
    fields: Mapping[str, object]
    received_ns: int | None = None

    @property
    def standard_type(self) -> int:
        """Identifier of its type in namespace 0, 0 if it is of another namespace."""
        if (
            self.type_id is None
            or self.type_id.NamespaceIndex != 0
            or not isinstance(self.type_id.Identifier, int)
        ):
            return 0
        return int(self.type_id.Identifier)

    @property
    def condition(self) -> str:
        """Names the condition and its branch that it tells of; empty for an event without a state."""
        fields = self.fields
        condition = fields.get("condition_id")
        if condition is None and "condition" in fields:
            condition = f"{fields.get('source_node', '')} {fields['condition']}"
        return "" if condition is None else f"{condition} {fields.get('branch', '')}".rstrip()


def decode(variants: Iterable[Any], namespaces: Sequence[str], more: Sequence[Field] = ()) -> Event:
    """Return the event whose ``FIELDS``, and those besides, have these values.

    Args:
        variants: the library's; a server may have sent fewer, or what makes no sense: that counts as not told.
        namespaces: the server's, by index.
        more: see ``Wanted``.
    """
    told = zip((*FIELDS, *more), variants, strict=False)
    contents = {field.key: variant.Value for field, variant in told if variant is not None}
    type_id = contents.pop("event_type", None)
    time, received = contents.get("time"), contents.pop(_RECEIVED, None)
    fields = {key: _plain(content, namespaces) for key, content in contents.items()}
    for field in more:
        if isinstance(contents.get(field.key), list):
            fields[field.key] = [_plain(each, namespaces) for each in contents[field.key]]
    return Event(
        type_id if hasattr(type_id, "NamespaceIndex") and hasattr(type_id, "Identifier") else None,
        _time_ns(time) if isinstance(time, datetime) else None,
        {key: content for key, content in fields.items() if content is not None},
        _time_ns(received) if isinstance(received, datetime) else None,
    )


def to_text(event_type: str, fields: Mapping[str, object]) -> str:
    """Return the JSON that is the value of the reading."""
    content = {"event_type": event_type, **fields}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8, which the library hides in lone surrogates
        return json.dumps(content, separators=(",", ":"))
    return text


def name_of(node: Any, namespaces: Sequence[str]) -> str:
    """Return a node id of the library as integrators write it, by namespace URI where that is known."""
    index = node.NamespaceIndex
    if index and index < len(namespaces):
        return str(NodeAddress(node.Identifier, namespaces[index]))
    return str(NodeAddress(node.Identifier, "", index))


def _plain(content: Any, namespaces: Sequence[str]) -> object:
    """Return what JSON has for a field; None for what is not told, or has no place there."""
    if isinstance(content, bool | int | str) or (isinstance(content, float) and math.isfinite(content)):
        return content
    if isinstance(content, datetime):
        return None if _time_ns(content) is None else content.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if hasattr(content, "NamespaceIndex") and hasattr(content, "Identifier"):
        is_null = not content.Identifier and not content.NamespaceIndex
        return None if is_null else name_of(content, namespaces)
    text = content.hex() if isinstance(content, bytes) else getattr(content, "Text", None)
    return text or None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2262, 1, 1, tzinfo=UTC)  # nanoseconds since 1970 fill 63 bits


def _time_ns(time: datetime) -> int | None:
    if not _EPOCH <= time < _LATEST:
        return None
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
