"""Asks a server which of its variables are points, and for the units and ranges of all of them.

Units and ranges are properties of variables: OPC 10000-8 §5.3.2 and §5.6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from asyncua import ua

from edge_agent.errors import ExchangeError
from edge_agent_opcua.browse.variable import ATTRIBUTES, Variable
from edge_agent_opcua.browse_path import parse_address
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.entry import OBJECTS, OpcUaBrowse
from edge_agent_opcua.found import (
    Described,
    Found,
    FoundNode,
    described,
    entry_of,
    is_whole,
    may_be_described,
    settle,
    with_descriptions,
)
from edge_agent_opcua.nodes import Nodes
from edge_agent_opcua.search import Search
from edge_agent_opcua.services import Services
from edge_agent_opcua.translation import one_exchange
from edge_agent_opcua.tree import HAS_PROPERTY, NODES_PER_REQUEST, Tree, key_of, plain
from edge_agent_opcua.units import is_same, unit_text

MAX_NAMED = 5
_UNIT, _RANGES = "EngineeringUnits", ("EURange", "InstrumentRange")


@dataclass(slots=True)
class _Variable:
    """A variable, and the ids of its properties by name; None: it does not tell."""

    node_id: Any
    properties: dict[str, Any] | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a variable's properties hold."""

    described: Described
    unit: Any = None  # the library's EUInformation


class Survey:
    """Of one session.

    Attributes:
        remarks: what a person should know of it, once it is done.
    """

    def __init__(self, config: OpcUaDevice, services: Services, nodes: Nodes) -> None:
        self.remarks: tuple[str, ...] = ()
        self._config = config
        self._services = services
        self._nodes = nodes
        self._told: list[str] = []
        self._missed: list[str] = []

    async def run(self) -> Found:
        """Ask, and return what the points are to be; what cannot be found out now is as it was before.

        Raises:
            DeviceUnavailableError: the session is dead.
        """
        config, found = self._config, self._config.found
        self._told, self._missed = [], []
        most = min(NODES_PER_REQUEST, self._services.profile.max_operations)
        tree = Tree(self._services.client, config.url, most=most, guard=one_exchange)
        try:
            with one_exchange(config.url, "looking at its variables"):  # whatever they answer, it is their doing
                if config.browse or config.server_units:
                    await tree.learn()
                nodes, ids = await self._choose(tree) if config.browse else ((), {})
                found = Found(nodes, found.written if config.server_units else {})
                if config.server_units:
                    found = await self._describe(tree, found, ids)
        except ExchangeError as exc:
            self._missed.append(str(exc))
        if self._missed:
            self._told.append(f"not all that the server has could be looked at: {_some(self._missed, '; ')}")
        self.remarks = tuple(self._told)
        return found

    async def _choose(self, tree: Tree) -> tuple[tuple[FoundNode, ...], Mapping[str, Any]]:
        """Return the variables that are points because an entry asks for them, and ids of nodes."""
        entries = self._config.browse
        written = {
            key_of(node_id)
            for index, point in enumerate(self._config.written)
            if is_whole(point) and (node_id := self._nodes[index]) is not None
        }
        seen: list[FoundNode] = []
        ids: dict[str, Any] = {}
        for below in dict.fromkeys(entry.below for entry in entries):
            for one, node_id in await self._look_below(tree, below):
                if key_of(node_id) not in written:
                    seen.append(one)
                    ids[one.node] = node_id
        settled = settle(entries, self._config.found.nodes, seen)
        try:
            hindered = await self._hindered(tree, [one for one in settled.nodes if one.key in settled.new], ids)
        except ExchangeError as exc:  # then they are points, and each says for itself what is wrong with it
            hindered = {}
            self._missed.append(str(exc))
        nodes = tuple(one for one in settled.nodes if one.node not in hindered)
        self._tell_of(entries, nodes, settled.matching)
        if hindered:
            self._told.append(f"matching variables that cannot be points: {_some([*hindered.values()])}")
        if settled.gone and not self._missed:
            found = self._config.points[len(self._config.written) :]
            names = {one.key: point.name for one, point in zip(self._config.found.nodes, found, strict=True)}
            self._told.append(
                "points that the server has no longer, until `edge-agent devices "
                f"{self._config.id} --forget`: {_some([names[one.key] for one in settled.gone])}"
            )
        return nodes, ids

    async def _look_below(self, tree: Tree, below: str) -> list[tuple[FoundNode, Any]]:
        with one_exchange(self._config.url, "looking for a node"):
            (start,) = await self._services.resolve([parse_address(below)])
        if start is None:
            self._missed.append(f"{below} is not there")
            return []
        entries = [entry for entry in self._config.browse if entry.below == below]
        is_own = below in {OBJECTS, "/Objects"}
        search = Search(tree, self._services, below, entries, self._missed.append, is_own=is_own)
        return [*await search.run(start)]

    def _tell_of(
        self, entries: Sequence[OpcUaBrowse], nodes: Sequence[FoundNode], matching: Mapping[int, int]
    ) -> None:
        filled = {entry_of(entries, one) for one in nodes}
        for position, entry in enumerate(entries):
            if position not in filled:
                self._told.append(f"nothing matches {entry.name}; it is looked for again at the next connect")
            if position in matching:
                self._told.append(
                    f"{matching[position]} variables match {entry.name}, of which {entry.max_points} are points: "
                    "raise max_points or match less"
                )

    async def _hindered(self, tree: Tree, nodes: Sequence[FoundNode], ids: Mapping[str, Any]) -> dict[str, str]:
        """Return which of ``nodes`` cannot be points, and why."""
        values = iter(await tree.read([(ids[one.node], attribute) for one in nodes for attribute in ATTRIBUTES]))
        variables = [Variable(*(next(values) for _ in ATTRIBUTES)) for _ in nodes]
        return {
            one.node: f"{'/'.join(one.path)} ({variable.hindrance})"
            for one, variable in zip(nodes, variables, strict=True)
            if variable.hindrance
        }

    async def _describe(self, tree: Tree, found: Found, ids: Mapping[str, Any]) -> Found:
        """Return ``found`` with units and ranges, and compare those that are written."""
        points = {
            index: point
            for index, point in enumerate(self._config.written)
            if may_be_described(point) and self._nodes[index] is not None
        }
        present = [one for one in found.nodes if one.node in ids]
        nodes = [*(self._nodes[index] for index in points), *(ids[one.node] for one in present)]
        answers = await self._ask(tree, [_Variable(node_id) for node_id in nodes])
        of_points = dict(zip(points, answers[: len(points)], strict=True))
        written: dict[str, Described] = {}
        for index, point in points.items():
            answer = of_points[index]
            told = found.written.get(point.node, Described()) if answer is None else answer.described
            unit, limits = ("" if point.unit else told.unit), (None if point.range else told.range)
            if unit or limits:
                before = written.get(point.node, Described())
                written[point.node] = Described(before.unit or unit, before.range or limits)
        self._compare({index: answer for index, answer in of_points.items() if answer is not None})
        of_nodes = zip(present, answers[len(points) :], strict=True)
        told_of = {one.node: answer.described for one, answer in of_nodes if answer is not None}
        return replace(found, nodes=with_descriptions(found.nodes, told_of), written=written)

    def _compare(self, answers: Mapping[int, _Answer]) -> None:
        differing = []
        for index, answer in answers.items():
            point, unit = self._config.written[index], answer.unit
            if not point.unit or unit is None or not answer.described.unit:
                continue
            if not is_same(point.unit, unit.NamespaceUri or "", unit.UnitId, unit.DisplayName.Text or ""):
                differing.append(f"{point.name} ({point.unit}, there {answer.described.unit})")
        if differing:
            self._told.append(f"the server has other units than are written here: {_some(differing)}")

    async def _ask(self, tree: Tree, variables: Sequence[_Variable]) -> list[_Answer | None]:
        """Return what the properties of each variable say; None: they cannot be asked for."""
        await self._services.renew_channel()
        for variable, _ in await tree.look_into(
            variables, lambda one, references: _take(tree, one, references), kind=HAS_PROPERTY
        ):
            variable.properties = None
        wanted = [
            (variable.node_id, name, node_id)
            for variable in variables
            for name, node_id in (variable.properties or {}).items()
        ]
        values = await tree.read([(node_id, ua.AttributeIds.Value) for _, _, node_id in wanted])
        told = {(key_of(owner), name): value for (owner, name, _), value in zip(wanted, values, strict=True)}
        return [
            None
            if one.properties is None
            else _answer({name: told[key_of(one.node_id), name] for name in one.properties})
            for one in variables
        ]


def _take(tree: Tree, variable: _Variable, references: Sequence[Any]) -> None:
    for reference in references:
        name, node_id = reference.BrowseName.Name, tree.local(reference.NodeId)
        if name in {_UNIT, *_RANGES} and node_id is not None and variable.properties is not None:
            variable.properties[name] = node_id


def _answer(values: Mapping[str, Any]) -> _Answer | None:
    """Return what the values of properties say; None: one of them cannot be read."""
    if any(value.StatusCode.is_bad() for value in values.values()):
        return None
    held = {name: plain(value) for name, value in values.items()}
    unit = held.get(_UNIT)
    text = ""
    if isinstance(unit, ua.EUInformation):
        text = unit_text(unit.NamespaceUri or "", unit.UnitId, unit.DisplayName.Text or "")
    ranges = [held[name] for name in _RANGES if isinstance(held.get(name), ua.Range)]
    limits = (float(ranges[0].Low), float(ranges[0].High)) if ranges else None
    return _Answer(described(text, limits), unit if text else None)


def _some(texts: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(texts) - MAX_NAMED} more" if len(texts) > MAX_NAMED else ""
    return f"{between.join(texts[:MAX_NAMED])}{more}"
