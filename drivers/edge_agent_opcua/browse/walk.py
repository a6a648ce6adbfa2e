"""Walks through the address space of a server, a batch of nodes at a time, and tells the variables that it meets.

What is kept is the ids of the nodes that were met, for a node may hang in several places, and those that are still
to be looked into.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from edge_agent.browsing import BrowseEnd, Browsing, Progress
from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.browse.variable import ATTRIBUTES, Variable, describe
from edge_agent_opcua.names import Names
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.tree import HAS_PROPERTY, Key, Tree, key_of, plain

NOTES = 10

_UNITS = "EngineeringUnits"  # OPC 10000-8 §5.3.2


@dataclass(slots=True)
class _Node:
    """A node that is to be looked into.

    Attributes:
        path: its browse names, from below the start on.
        units: the property that holds its engineering unit.
    """

    node_id: Any
    path: tuple[str, ...]
    label: str = ""
    is_variable: bool = False
    units: Any = None


class NoStartError(DeviceUnavailableError):
    """The server has no namespace in which the walk could begin."""


class Walk:
    """One browse over one connection.

    Args:
        with_properties: whether the properties of objects are told as variables; those of variables never are.
    """

    def __init__(self, client: Any, url: str, browsing: Browsing, *, with_properties: bool = False) -> None:
        self._with_properties = with_properties
        self._tree = Tree(client, url)
        self._url = url
        self._browsing = browsing
        self._is_own = True
        self._seen: set[Key] = set()
        self._waiting: list[_Node] = []
        self._names = Names()
        self._types: dict[Key, str] = {}
        self._notes: list[str] = []
        self._untold = 0
        self._is_complete = True

    async def run(self, start: NodeAddress | None) -> BrowseEnd:
        """Walk from ``start`` on; None: all but what the standard itself defines, which is about the server.

        Raises:
            NoStartError: the start is not there.
            DeviceUnavailableError: the connection is lost.
        """
        await self._tree.learn()
        first = ua.NodeId(ua.ObjectIds.ObjectsFolder)
        if start is not None:
            index = start.index_in(self._tree.namespaces)
            if index is None:
                raise NoStartError(f"{self._url} has no namespace {start.namespace_uri}")
            first = ua.NodeId(start.identifier, index)
        self._is_own = start is None
        self._waiting.append(_Node(first, ()))
        self._seen.add(key_of(first))
        done = 0
        while self._waiting:
            batch = self._waiting[-self._tree.nodes_per_browse :]
            del self._waiting[-len(batch) :]
            await self._look_into(batch)
            done += len(batch)
            self._browsing.progress(Progress(done, len(self._waiting)))
        if self._untold:
            self._notes.append(f"and {self._untold} more")
        return BrowseEnd(self._is_complete, tuple(self._notes))

    async def look_up(self, addresses: Mapping[str, NodeAddress]) -> None:
        """Tell those variables that the server has, each under the path that it is given here.

        Raises:
            NoStartError: the server has not even their namespace.
            DeviceUnavailableError: the connection is lost.
        """
        await self._tree.learn()
        nodes = []
        for path, address in addresses.items():
            index = address.index_in(self._tree.namespaces)
            if index is None:
                raise NoStartError(f"{self._url} has no namespace {address.namespace_uri}")
            nodes.append(_Node(ua.NodeId(address.identifier, index), (path,), is_variable=True))
        types = await self._tree.read([(node.node_id, ua.AttributeIds.DataType) for node in nodes])
        wanted = [
            node
            for node, told in zip(nodes, types, strict=True)
            if not told.StatusCode.is_bad() and self._browsing.wants("/".join(node.path))
        ]
        self._browsing.progress(Progress(len(nodes), 0))
        if wanted:
            await self._tell(wanted)

    async def texts(self, addresses: Sequence[NodeAddress]) -> list[str]:
        """Return the values of variables that the walk has told, as texts; empty where there is none."""
        ids = [ua.NodeId(one.identifier, one.index_in(self._tree.namespaces) or 0) for one in addresses]
        told = map(plain, await self._tree.read([(one, ua.AttributeIds.Value) for one in ids]))
        return [str(getattr(one, "Text", one) or "").strip() for one in told]

    async def _look_into(self, batch: Sequence[_Node]) -> None:
        for node, why in await self._tree.look_into(batch, self._take):
            self._note(f"{self._place(node)}: {why}")
        wanted = [node for node in batch if node.is_variable and self._browsing.wants("/".join(node.path))]
        if wanted:
            await self._tell(wanted)

    def _place(self, node: _Node) -> str:
        return "/".join(node.path) or self._tree.address(node.node_id)

    def _take(self, parent: _Node, references: Sequence[Any]) -> None:
        for reference in references:
            node_id = self._tree.local(reference.NodeId)
            if node_id is None:
                continue
            if reference.ReferenceTypeId == HAS_PROPERTY:
                if parent.is_variable and reference.BrowseName.Name == _UNITS:
                    parent.units = node_id
                if parent.is_variable or not self._with_properties:
                    continue
            key = key_of(node_id)
            if key in self._seen or (self._is_own and node_id.NamespaceIndex == 0):
                continue
            if len(self._seen) > self._browsing.most:
                self._is_complete = False
                return
            self._seen.add(key)
            path = (*parent.path, str(reference.BrowseName.Name))
            label = reference.DisplayName.Text or ""
            is_variable = reference.NodeClass == ua.NodeClass.Variable
            self._waiting.append(_Node(node_id, path, label, is_variable))

    async def _tell(self, nodes: Sequence[_Node]) -> None:
        """Ask for what is to be known of variables, and tell them."""
        reads = [(node.node_id, attribute) for node in nodes for attribute in ATTRIBUTES]
        reads += [(node.units, ua.AttributeIds.Value) for node in nodes if node.units is not None]
        values = iter(await self._tree.read(reads))
        variables = [Variable(*(next(values) for _ in ATTRIBUTES)) for _ in nodes]
        units = [next(values) if node.units is not None else None for node in nodes]
        await self._learn_types(variable.type_id for variable in variables)
        self._browsing.tell(
            [
                describe(
                    variable,
                    self._tree.address(node.node_id),
                    self._names.name(node.path),
                    node.path,
                    node.label,
                    self._types.get(key_of(variable.type_id), "") if variable.type_id is not None else "",
                    unit,
                )
                for node, variable, unit in zip(nodes, variables, units, strict=True)
            ]
        )

    async def _learn_types(self, type_ids: Iterator[Any]) -> None:
        new = {key_of(type_id): type_id for type_id in type_ids if type_id is not None}
        unknown = [type_id for key, type_id in new.items() if key not in self._types]
        reads = [(type_id, ua.AttributeIds.BrowseName) for type_id in unknown]
        for type_id, value in zip(unknown, await self._tree.read(reads), strict=True):
            self._types[key_of(type_id)] = str(getattr(plain(value), "Name", "") or type_id)

    def _note(self, text: str) -> None:
        if len(self._notes) < NOTES:
            self._notes.append(text)
        else:
            self._untold += 1
