"""What a server says of its variables: which of them are points, and their units and ranges. Pure.

It is kept by the agent as a text, and the device is built with it, so the points are known while the server is
away. A point is known by its way below the node where the entry looks, so its name stays when node ids change;
what was found first keeps its place and its name.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge_agent.driver import RangeModel
from edge_agent_opcua.browse_path import parse_address
from edge_agent_opcua.entry import TEMPLATE, OpcUaBrowse
from edge_agent_opcua.names import snake_case
from edge_agent_opcua.point import OpcUaPoint

MAX_DEVICE_POINTS = 65535
MAX_NAME = 64
MAX_UNIT = 64
_DIGESTS = (6, 12, 24, 48)

Key = tuple[str, tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Described:
    """What a server says of one variable: its unit, empty if none, and the range of its values."""

    unit: str = ""
    range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A variable that an entry asks for.

    Attributes:
        below: the entry's.
        path: browse names from there on.
        twin: 0; of several with the same path, how many come before it in the order of their ids.
        node: its id as it is written in YAML.
    """

    below: str
    path: tuple[str, ...]
    twin: int
    node: str
    described: Described = field(default_factory=Described)

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.below, self.path, self.twin


@dataclass(frozen=True, slots=True)
class Found:
    """All of one device.

    Attributes:
        nodes: in the order of their points.
        written: what is said of the nodes of written points, by node as it is written.
    """

    nodes: tuple[FoundNode, ...] = ()
    written: Mapping[str, Described] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.written)

    def to_text(self) -> str:
        """Return it as the agent keeps it; empty if it is nothing."""
        if not self:
            return ""
        nodes = [[one.below, list(one.path), one.twin, one.node, *_plain(one.described)] for one in self.nodes]
        written = {node: _plain(one) for node, one in sorted(self.written.items())}
        lines = ",\n".join(json.dumps(node, ensure_ascii=False) for node in nodes)
        return f'{{"nodes":[\n{lines}\n],\n"written":{json.dumps(written, ensure_ascii=False)}}}\n'

    @classmethod
    def of(cls, text: str) -> "Found":
        """Read what ``to_text`` wrote; nothing, if it is anything else."""
        try:
            kept = json.loads(text)
            nodes = tuple(
                FoundNode(str(below), tuple(map(str, path)), int(twin), _checked(node), _described(unit, limits))
                for below, path, twin, node, unit, limits in kept["nodes"]
            )
            written = {str(node): _described(*told) for node, told in kept["written"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls()
        return cls(nodes, written)


@dataclass(frozen=True, slots=True)
class Settled:
    """Which of what was seen are points.

    Attributes:
        nodes: in the order of their points.
        new: keys of those that were not points before.
        gone: those of ``nodes`` that were not seen.
        matching: for each entry of which some are left out, by position: how many match.
    """

    nodes: tuple[FoundNode, ...]
    new: frozenset[Key]
    gone: tuple[FoundNode, ...]
    matching: Mapping[int, int]


def settle(entries: Sequence[OpcUaBrowse], before: Iterable[FoundNode], seen: Iterable[FoundNode]) -> Settled:
    """Choose the points among what was ``seen``; what was one ``before`` stays one, also if it is gone now.

    What is gone gives way where an entry has no room left for what is new.
    """
    ids: set[str] = set()
    present: dict[Key, FoundNode] = {}
    for one in seen:
        if one.node not in ids:
            ids.add(one.node)
            present[one.key] = one
    known = [one for one in before if entry_of(entries, one) is not None]
    new = sorted((key, one) for key, one in present.items() if key not in {one.key for one in known})
    chosen: list[FoundNode] = []
    gone: list[FoundNode] = []
    matching: dict[int, int] = {}
    taken: set[Key] = set()
    for position, entry in enumerate(entries):
        mine = [one for one in known if entry_of(entries, one) == position]
        stay = [one.key for one in mine if one.key in present][: entry.max_points]
        come = [one for _, one in new if entry_of(entries, one) == position]
        room = entry.max_points - len(stay)
        if len(come) > room:
            matching[position] = len(stay) + len(come)
        chosen += come[:room]
        taken |= {*stay}
        away = [one for one in mine if one.key not in present and one.node not in ids]
        gone += away[: max(0, room - len(come))]
    kept = taken | {one.key for one in gone}
    nodes = [present.get(one.key, one) for one in known if one.key in kept]
    return Settled((*nodes, *chosen), frozenset(one.key for one in chosen), tuple(gone), matching)


def entry_of(entries: Sequence[OpcUaBrowse], node: FoundNode) -> int | None:
    """Return the position of the first entry that asks for ``node``."""
    for position, entry in enumerate(entries):
        if entry.below == node.below and entry.takes(node.path):
            return position
    return None


def expanded(
    written: Sequence[OpcUaPoint], entries: Sequence[OpcUaBrowse], found: Found
) -> tuple[list[OpcUaPoint], list[FoundNode]]:
    """Return the points of a device, those that are written first, and the nodes of the others."""
    points = [_completed(point, found.written.get(point.node, Described())) for point in written]
    nodes: list[FoundNode] = []
    taken = {point.name.casefold() for point in written}
    ids = {str(parse_address(point.node)) for point in written if is_whole(point)}
    room = [entry.max_points for entry in entries]
    for node in found.nodes:
        position = entry_of(entries, node)
        if position is None or node.node in ids or not room[position] or len(points) >= MAX_DEVICE_POINTS:
            continue
        ids.add(node.node)
        room[position] -= 1
        points.append(_point(entries[position], node, taken))
        nodes.append(node)
    return points, nodes


def is_whole(point: OpcUaPoint) -> bool:
    """Return whether a point is the value of its node, all of it."""
    return point.events is None and not point.is_part


def may_be_described(point: OpcUaPoint) -> bool:
    """Return whether the unit of its node is the point's, too."""
    return point.events is None and not point.field and point.labels is None


def _completed(point: OpcUaPoint, told: Described) -> OpcUaPoint:
    more: dict[str, object] = {}
    if told.unit and not point.unit and may_be_described(point):
        more["unit"] = told.unit
    if told.range and point.range is None and may_be_described(point):
        more["range"] = RangeModel(low=told.range[0], high=told.range[1])
    return point.model_copy(update=more) if more else point


def _point(entry: OpcUaBrowse, node: FoundNode, taken: set[str]) -> OpcUaPoint:
    keys: dict[str, Any] = {key: getattr(entry, key) for key in TEMPLATE}
    keys |= {"name": _name(entry, node, taken), "node": node.node, "description": "/".join(node.path)}
    limits = node.described.range
    keys |= {
        "unit": node.described.unit,
        "range": None if limits is None else RangeModel(low=limits[0], high=limits[1]),
    }
    return OpcUaPoint.model_construct(**keys)  # all of it was validated where it comes from


def _name(entry: OpcUaBrowse, node: FoundNode, taken: set[str]) -> str:
    """Return a name for a point, that no other one has: its way, and where that is not enough, a digest of it."""
    words = "_".join(filter(None, map(snake_case, node.path)))
    stem = entry.prefix + (words or "point")
    digest = hashlib.sha256(json.dumps([node.below, *node.path, node.twin]).encode()).hexdigest()
    longer = (f"{stem[: MAX_NAME - 1 - length].rstrip('-_')}_{digest[:length]}" for length in _DIGESTS)
    names = [stem] if words and not node.twin and len(stem) <= MAX_NAME else []
    name = next((one for one in (*names, *longer) if one.casefold() not in taken), digest[:MAX_NAME])
    taken.add(name.casefold())
    return name


def _plain(described: Described) -> list[object]:
    return [described.unit, None if described.range is None else list(described.range)]


def _checked(node: object) -> str:
    parse_address(str(node))
    return str(node)


def _described(unit: object, limits: Any) -> Described:
    return described(str(unit), None if limits is None else (float(limits[0]), float(limits[1])))


def described(unit: str, limits: tuple[float, float] | None) -> Described:
    """Return what a server says, as far as it makes sense."""
    if limits is not None and not (all(map(math.isfinite, limits)) and limits[0] < limits[1]):
        limits = None
    return Described(unit[:MAX_UNIT] if unit.isprintable() else "", limits)


def with_descriptions(nodes: Iterable[FoundNode], told: Mapping[str, Described]) -> tuple[FoundNode, ...]:
    """Return ``nodes`` with what is said of them, by node; what is said of none stays."""
    return tuple(replace(one, described=told.get(one.node, one.described)) for one in nodes)
