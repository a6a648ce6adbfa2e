"""What is known of machines by the companion specifications, and how it is called here. Pure.

OPC 40001-1 (machinery: identification, states, counters) and OPC 40501-1 (machine tools: monitoring, production).
Machines are below the folder ``Machines`` (OPC 40001-1 §9); a path is relative to it: ``<machine>/Monitoring/…``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edge_agent.browsing import FoundPoint
from edge_agent_opcua.node_id import NodeAddress

MACHINES = NodeAddress(1001, "http://opcfoundation.org/UA/Machinery/")

_STATE, _COUNTER = {"class": "event"}, {"class": "counter"}
_MACHINE = r"Monitoring/MachineTool|MachineryBuildingBlocks|Components/[^/]+/MachineryBuildingBlocks"

# Path below the machine, the point's name ({…}: that part of the path), and the keys that the model gives it.
_KNOWN: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (rf"(?:{_MACHINE})/MachineryItemState/CurrentState", "state", _STATE),
    (rf"(?:{_MACHINE})/MachineryOperationMode/CurrentState", "machinery_mode", _STATE),
    (r"Monitoring/MachineTool/OperationMode", "operation_mode", _STATE),
    (r"Monitoring/MachineTool/IsWarmUp", "warm_up", _STATE),
    (r"Monitoring/MachineTool/FeedOverride", "feed_override", {"unit": "%"}),
    (r"Monitoring/MachineTool/PowerOnDuration", "power_on_hours", {"unit": "h"} | _COUNTER),
    (rf"(?:{_MACHINE})/OperationCounters/PowerOnDuration", "power_on_duration", {"unit": "ms"} | _COUNTER),
    (rf"(?:{_MACHINE})/OperationCounters/OperationDuration", "operation_duration", {"unit": "ms"} | _COUNTER),
    (rf"(?:{_MACHINE})/OperationCounters/OperationCycleCounter", "operation_cycles", _COUNTER),
    (rf"(?:{_MACHINE})/OperationCounters/PartsProducedInLifetime", "parts_in_lifetime", _COUNTER),
    (r"Monitoring/Stacklight/StacklightMode", "stacklight_mode", _STATE),
    (r"Monitoring/Stacklight/(?P<part>[^/]+)/SignalOn", "stacklight_{part}", _STATE),
    (r"Monitoring/(?P<part>[^/]+)/ChannelState", "{part}_state", _STATE),
    (r"Monitoring/(?P<part>[^/]+)/ChannelMode", "{part}_mode", _STATE),
    (r"Monitoring/(?P<part>[^/]+)/ChannelModifiers/(?P<what>[^/]+)", "{part}_{what}", _STATE),
    (r"Monitoring/(?P<part>[^/]+)/FeedOverride", "{part}_feed_override", {"unit": "%"}),
    (r"Monitoring/(?P<part>[^/]+)/RapidOverride", "{part}_rapid_override", {"unit": "%"}),
    (r"Monitoring/(?P<part>[^/]+)/Override", "{part}_override", {"unit": "%"}),
    (r"Monitoring/(?P<part>[^/]+)/IsRotating", "{part}_rotating", _STATE),
    (r"Monitoring/(?P<part>[^/]+)/IsUsedAsAxis", "{part}_used_as_axis", _STATE),
    (r"Monitoring/(?P<part>[^/]+)/(?P<what>LaserState|EDMGeneratorState)", "{part}_{what}", _STATE),
    (r"Monitoring/(?P<part>[^/]+)/(?P<what>ControllerIsOn|IsOn)", "{part}_{what}", _STATE),
    (r"Production/ActiveProgram/Name", "program", _STATE),
    (r"Production/ActiveProgram/NumberInList", "program_number", _STATE),
    (r"Production/ActiveProgram/JobIdentifier", "job", _STATE),
    (r"Production/ActiveProgram/State/CurrentState", "program_state", _STATE),
    (r"Production/Statistics/PartsProducedInLifetime", "parts_produced", _COUNTER),
)
# What machines tell of (OPC 40501-1: Notification), the server tells of as a whole (OPC 10000-5 §8.3.2).
_ALARMS = FoundPoint({"node": "i=2253", "events": "alarms"}, "alarms", "Notification", "alarms and conditions", "")
_PATTERNS = tuple((re.compile(rf"[^/]+/(?:{path})"), name, keys) for path, name, keys in _KNOWN)
_IDENTITY = re.compile(r"[^/]+/Identification/(ProductInstanceUri|Manufacturer|Model|SerialNumber)")
_LABELS = {
    "ProductInstanceUri": "product_instance_uri",
    "Manufacturer": "manufacturer",
    "Model": "model",
    "SerialNumber": "serial",
}


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a server's machines have."""

    points: Sequence[FoundPoint]
    labels: Mapping[str, str]
    notes: Sequence[str]


def is_known(path: str) -> bool:
    """Return whether the variable at ``path`` is one that the specifications tell of."""
    return is_identity(path) or any(pattern.fullmatch(path) for pattern, _, _ in _PATTERNS)


def is_identity(path: str) -> bool:
    """Return whether it says which machine it is."""
    return _IDENTITY.fullmatch(path) is not None


def recognise(points: Iterable[FoundPoint], identities: Mapping[str, str]) -> Recognised:
    """Name the points after what they are, and say which machine it is.

    Args:
        points: of which ``is_known``.
        identities: the value of each of which ``is_identity``, by path.
    """
    named = [point for point in map(_named, points) if point is not None]
    alarms = [_ALARMS] if named else []
    machines = sorted({path.partition("/")[0] for path in ([point.path for point in named] or identities)})
    labels = {
        _LABELS[path.rpartition("/")[2]]: value
        for path, value in sorted(identities.items())
        if value and path.partition("/")[0] == machines[0]
    }
    if len(machines) == 1:
        return Recognised([*named, *alarms], labels, _missing(named))
    prefixed = [replace(point, name=f"{point.path.partition('/')[0]}_{point.name}") for point in named]
    note = (
        f"the server has {len(machines)} machines ({', '.join(machines)}): each should be a device of its own; "
        "take one with --filter 'NAME/*'"
        if machines
        else "the server's folder of machines is empty"
    )
    return Recognised([*prefixed, *alarms], {}, (note,))


def _named(point: FoundPoint) -> FoundPoint | None:
    for pattern, name, keys in _PATTERNS:
        match = pattern.fullmatch(point.path)
        if match is not None:
            parts = {part: text.replace("/", "_") for part, text in match.groupdict().items()}
            # What the server says of a unit is truer than what the model would have.
            all_keys = {**point.keys, **{key: word for key, word in keys.items() if key not in point.keys}}
            return replace(point, name=name.format(**parts), keys=all_keys)
    return None


def _missing(points: Iterable[FoundPoint]) -> list[str]:
    """Return what a machine tool should have and this one does not."""
    names = {point.name for point in points}
    looked_for = {
        "state": ("state", "operation_mode", "channel_state"),
        "program": ("program",),
        "part counter": ("parts_produced", "parts_in_lifetime"),
    }
    missing = [
        what
        for what, candidates in looked_for.items()
        if not any(name.endswith(candidate) for name in names for candidate in candidates)
    ]
    return [f"the machine does not show: {', '.join(missing)}"] if missing else []
