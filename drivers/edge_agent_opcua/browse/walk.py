"""Walks through the address space of a server, a batch of nodes at a time, and tells the variables that it meets.

Source: OPC 10000-4 §5.9.2 Browse, §5.9.3 BrowseNext, §5.11.2 Read. What is kept is the ids of the nodes that were
met, for a node may hang in several places, and those that are still to be looked into.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from edge_agent.browsing import BrowseEnd, Browsing, Progress
from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.browse.names import Names
from edge_agent_opcua.browse.variable import ATTRIBUTES, Variable, describe
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.translation import FOREIGN, TOO_MUCH, status_of, whole_session

NODES_PER_REQUEST = 100
REFERENCES_PER_NODE = 1000
"""In one answer; the server gives the rest when it is asked to go on."""
NOTES = 10

_HIERARCHICAL = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
_HAS_PROPERTY = ua.NodeId(ua.ObjectIds.HasProperty)
_UNITS = "EngineeringUnits"  # OPC 10000-8 §5.3.2
_LIMITS = (
    ua.ObjectIds.Server_NamespaceArray,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
)

Key = tuple[int, Any]


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
        self._service = client.uaclient
        self._url = url
        self._browsing = browsing
        self._namespaces: list[str] = []
        self._nodes_per_browse = self._nodes_per_read = NODES_PER_REQUEST
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
        await self._ask_for_limits()
        first = ua.NodeId(ua.ObjectIds.ObjectsFolder)
        if start is not None:
            index = start.index_in(self._namespaces)
            if index is None:
                raise NoStartError(f"{self._url} has no namespace {start.namespace_uri}")
            first = ua.NodeId(start.identifier, index)
        self._is_own = start is None
        self._waiting.append(_Node(first, ()))
        self._seen.add(_key(first))
        done = 0
        while self._waiting:
            batch = self._waiting[-self._nodes_per_browse :]
            del self._waiting[-len(batch) :]
            await self._look_into(batch)
            done += len(batch)
            self._browsing.progress(Progress(done, len(self._waiting)))
        if self._untold:
            self._notes.append(f"and {self._untold} more")
        return BrowseEnd(self._is_complete, tuple(self._notes))

    async def _ask_for_limits(self) -> None:
        ids = [ua.NodeId(identifier) for identifier in _LIMITS]
        with whole_session(self._url, "asking for the server's limits"):
            values = await self._service.read_attributes(ids, ua.AttributeIds.Value)
        told = [value.Value.Value if value.Value is not None else None for value in values]
        self._namespaces = told[0] if isinstance(told[0], list) else []
        self._nodes_per_browse, self._nodes_per_read = map(_limit, told[1:])

    async def look_up(self, addresses: Mapping[str, NodeAddress]) -> None:
        """Tell those variables that the server has, each under the path that it is given here.

        Raises:
            NoStartError: the server has not even their namespace.
            DeviceUnavailableError: the connection is lost.
        """
        await self._ask_for_limits()
        nodes = []
        for path, address in addresses.items():
            index = address.index_in(self._namespaces)
            if index is None:
                raise NoStartError(f"{self._url} has no namespace {address.namespace_uri}")
            nodes.append(_Node(ua.NodeId(address.identifier, index), (path,), is_variable=True))
        types = await self._each(
            [(node.node_id, ua.AttributeIds.DataType) for node in nodes], self._nodes_per_read, self._read
        )
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
        ids = [ua.NodeId(one.identifier, one.index_in(self._namespaces) or 0) for one in addresses]
        values = await self._each([(one, ua.AttributeIds.Value) for one in ids], self._nodes_per_read, self._read)
        told = [value.Value.Value if value.Value is not None else None for value in values]
        return [str(getattr(one, "Text", one) or "").strip() for one in told]

    async def _look_into(self, batch: Sequence[_Node]) -> None:
        for node in await self._references_of(batch):  # alone, there may be a continuation point for it
            if await self._references_of([node]):
                self._note(f"{self._place(node)}: the server has no continuation point left: not all is here")
        wanted = [node for node in batch if node.is_variable and self._browsing.wants("/".join(node.path))]
        if wanted:
            await self._tell(wanted)

    async def _references_of(self, batch: Sequence[_Node]) -> list[_Node]:
        """Take what is below nodes; return those for which the server had no continuation point left."""
        results = await self._each(batch, self._nodes_per_browse, self._browse)
        again, short = [], []
        for node, result in zip(batch, results, strict=True):
            if result.StatusCode.value == ua.StatusCodes.BadNoContinuationPoints:
                short.append(node)
            elif not result.StatusCode.is_good():
                self._note(f"{self._place(node)}: {ua.StatusCode(result.StatusCode.value).name}")
            self._take(node, result.References or ())
            if result.ContinuationPoint:
                again.append((node, result.ContinuationPoint))
        while again:
            asked, again = again, []
            points = [point for _, point in asked]
            with whole_session(self._url, "browsing on"):
                more = await self._service.browse_next(
                    ua.BrowseNextParameters(ReleaseContinuationPoints=False, ContinuationPoints=points)
                )
            for (node, _), result in zip(asked, more, strict=True):
                self._take(node, result.References or ())
                if result.ContinuationPoint:
                    again.append((node, result.ContinuationPoint))
                elif result.StatusCode.is_bad():  # it has forgotten where it was
                    short.append(node)
        return short

    def _place(self, node: _Node) -> str:
        return "/".join(node.path) or self._address(node.node_id)

    def _take(self, parent: _Node, references: Sequence[Any]) -> None:
        for reference in references:
            node_id = self._local(reference.NodeId)
            if node_id is None:
                continue
            if reference.ReferenceTypeId == _HAS_PROPERTY:
                if parent.is_variable and reference.BrowseName.Name == _UNITS:
                    parent.units = node_id
                if parent.is_variable or not self._with_properties:
                    continue
            key = _key(node_id)
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

    def _local(self, expanded: Any) -> Any | None:
        """Return the id of a node of this server; None if it is another one's."""
        if getattr(expanded, "ServerIndex", 0):
            return None
        index = expanded.NamespaceIndex
        uri = getattr(expanded, "NamespaceUri", None)
        if uri:
            if uri not in self._namespaces:
                return None
            index = self._namespaces.index(uri)
        return ua.NodeId(expanded.Identifier, index)

    async def _tell(self, nodes: Sequence[_Node]) -> None:
        """Ask for what is to be known of variables, and tell them."""
        reads = [(node.node_id, attribute) for node in nodes for attribute in ATTRIBUTES]
        reads += [(node.units, ua.AttributeIds.Value) for node in nodes if node.units is not None]
        values = iter(await self._each(reads, self._nodes_per_read, self._read))
        variables = [Variable(*(next(values) for _ in ATTRIBUTES)) for _ in nodes]
        units = [next(values) if node.units is not None else None for node in nodes]
        await self._learn_types(variable.type_id for variable in variables)
        self._browsing.tell(
            [
                describe(
                    variable,
                    self._address(node.node_id),
                    self._names.name(node.path),
                    node.path,
                    node.label,
                    self._types.get(_key(variable.type_id), "") if variable.type_id is not None else "",
                    unit,
                )
                for node, variable, unit in zip(nodes, variables, units, strict=True)
            ]
        )

    async def _learn_types(self, type_ids: Iterator[Any]) -> None:
        new = {_key(type_id): type_id for type_id in type_ids if type_id is not None}
        unknown = [type_id for key, type_id in new.items() if key not in self._types]
        reads = [(type_id, ua.AttributeIds.BrowseName) for type_id in unknown]
        for type_id, value in zip(unknown, await self._each(reads, self._nodes_per_read, self._read), strict=True):
            name = value.Value.Value if value.Value is not None else None
            self._types[_key(type_id)] = str(getattr(name, "Name", "") or type_id)

    def _address(self, node_id: Any) -> str:
        index = node_id.NamespaceIndex
        has_uri = 0 < index < len(self._namespaces)
        return str(NodeAddress(node_id.Identifier, self._namespaces[index] if has_uri else "", index))

    async def _browse(self, nodes: Sequence[_Node]) -> Sequence[Any]:
        asked = [
            ua.BrowseDescription(
                NodeId=node.node_id,
                BrowseDirection=ua.BrowseDirection.Forward,
                ReferenceTypeId=_HIERARCHICAL,
                IncludeSubtypes=True,
                NodeClassMask=ua.NodeClass.Object | ua.NodeClass.Variable,
                ResultMask=ua.BrowseResultMask.All,
            )
            for node in nodes
        ]
        results: Sequence[Any] = await self._service.browse(
            ua.BrowseParameters(RequestedMaxReferencesPerNode=REFERENCES_PER_NODE, NodesToBrowse=asked)
        )
        return results

    async def _read(self, reads: Sequence[tuple[Any, Any]]) -> Sequence[Any]:
        wanted = [ua.ReadValueId(NodeId=node_id, AttributeId=attribute) for node_id, attribute in reads]
        values: Sequence[Any] = await self._service.read(
            ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Neither, NodesToRead=wanted)
        )
        return values

    async def _each(
        self, things: Sequence[Any], limit: int, call: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]
    ) -> list[Any]:
        """Return one result for each of ``things``; a server that finds a request too large is asked for less."""
        results: list[Any] = []
        while len(results) < len(things):
            chunk = things[len(results) : len(results) + limit]
            with whole_session(self._url, "browsing"):
                try:
                    part = await call(chunk)
                except FOREIGN as exc:
                    if len(chunk) == 1 or status_of(exc) not in TOO_MUCH:
                        raise
                    limit = len(chunk) // 2
                    continue
            if len(part) != len(chunk):
                raise DeviceUnavailableError(f"{self._url} answered {len(part)} of {len(chunk)} operations")
            results += part
        return results

    def _note(self, text: str) -> None:
        if len(self._notes) < NOTES:
            self._notes.append(text)
        else:
            self._untold += 1


def _limit(told: Any) -> int:
    return min(NODES_PER_REQUEST, told) if isinstance(told, int) and told > 0 else NODES_PER_REQUEST


def _key(node_id: Any) -> Key:
    return node_id.NamespaceIndex, node_id.Identifier
