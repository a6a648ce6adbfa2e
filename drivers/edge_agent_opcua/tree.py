"""The address space of a server as far as it is asked for, a batch of nodes at a time.

Source: OPC 10000-4 §5.9.2 Browse, §5.9.3 BrowseNext, §5.11.2 Read.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from asyncua import ua

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.translation import FOREIGN, TOO_MUCH, status_of, whole_session

NODES_PER_REQUEST = 100
REFERENCES_PER_NODE = 1000
"""In one answer; the server gives the rest when it is asked to go on."""

HAS_PROPERTY = ua.NodeId(ua.ObjectIds.HasProperty)
_HIERARCHICAL = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
_LIMITS = (
    ua.ObjectIds.Server_NamespaceArray,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
)

Key = tuple[int, Any]


class Branch(Protocol):
    """A node that is to be looked into."""

    @property
    def node_id(self) -> Any:
        """The library's node id."""
        ...


B = TypeVar("B", bound=Branch)
Guard = Callable[[str, str], AbstractContextManager[None]]


class Tree:
    """What is asked over one connection.

    Args:
        most: nodes in one request.
        guard: makes errors of this project of those of the library, given address and what was done.

    Attributes:
        namespaces: URIs, by index, once ``learn`` was called.
    """

    def __init__(
        self, client: Any, url: str, *, most: int = NODES_PER_REQUEST, guard: Guard = whole_session
    ) -> None:
        self.namespaces: list[str] = []
        self._service = client.uaclient
        self._url = url
        self._guard = guard
        self._most = self._nodes_per_browse = self._nodes_per_read = most

    @property
    def nodes_per_browse(self) -> int:
        """So many nodes are looked into with one request."""
        return self._nodes_per_browse

    async def learn(self) -> None:
        """Ask for the server's namespaces and limits. Call it first."""
        ids = [ua.NodeId(identifier) for identifier in _LIMITS]
        with self._guard(self._url, "asking for the server's limits"):
            values = await self._service.read_attributes(ids, ua.AttributeIds.Value)
        told = [plain(value) for value in values]
        self.namespaces = told[0] if isinstance(told[0], list) else []
        self._nodes_per_browse, self._nodes_per_read = (_limit(limit, self._most) for limit in told[1:])

    async def look_into(
        self, nodes: Sequence[B], take: Callable[[B, Sequence[Any]], None], *, kind: Any = _HIERARCHICAL
    ) -> list[tuple[B, str]]:
        """Hand the references of each node on, as they come; return the nodes of which not all came, and why."""
        short, failed = await self._references_of(nodes, take, kind)
        for node in short:  # alone, there may be a continuation point for it
            again, more = await self._references_of([node], take, kind)
            failed += more
            if again:
                failed.append((node, "the server has no continuation point left: not all is here"))
        return failed

    async def read(self, reads: Sequence[tuple[Any, Any]]) -> list[Any]:
        """Return the library's DataValue for each node id and attribute."""
        return await self._each(reads, self._nodes_per_read, self._read)

    def local(self, expanded: Any) -> Any | None:
        """Return the id of a node of this server; None if it is another one's."""
        if getattr(expanded, "ServerIndex", 0):
            return None
        index = expanded.NamespaceIndex
        uri = getattr(expanded, "NamespaceUri", None)
        if uri:
            if uri not in self.namespaces:
                return None
            index = self.namespaces.index(uri)
        return ua.NodeId(expanded.Identifier, index)

    def address(self, node_id: Any) -> str:
        """Return a node as it is written in YAML."""
        index = node_id.NamespaceIndex
        has_uri = 0 < index < len(self.namespaces)
        return str(NodeAddress(node_id.Identifier, self.namespaces[index] if has_uri else "", index))

    async def _references_of(
        self, nodes: Sequence[B], take: Callable[[B, Sequence[Any]], None], kind: Any
    ) -> tuple[list[B], list[tuple[B, str]]]:
        """Return the nodes for which the server had no continuation point left, and those that it refused."""

        async def browse(part: Sequence[B]) -> Sequence[Any]:
            return await self._browse(part, kind)

        again, short, failed = [], [], []
        results = await self._each(nodes, self._nodes_per_browse, browse)
        for node, result in zip(nodes, results, strict=True):
            if result.StatusCode.value == ua.StatusCodes.BadNoContinuationPoints:
                short.append(node)
            elif not result.StatusCode.is_good():
                failed.append((node, str(ua.StatusCode(result.StatusCode.value).name)))
            take(node, result.References or ())
            if result.ContinuationPoint:
                again.append((node, result.ContinuationPoint))
        while again:
            asked, again = again, []
            points = [point for _, point in asked]
            with self._guard(self._url, "browsing on"):
                more = await self._service.browse_next(
                    ua.BrowseNextParameters(ReleaseContinuationPoints=False, ContinuationPoints=points)
                )
            for (node, _), result in zip(asked, more, strict=True):
                take(node, result.References or ())
                if result.ContinuationPoint:
                    again.append((node, result.ContinuationPoint))
                elif result.StatusCode.is_bad():  # it has forgotten where it was
                    short.append(node)
        return short, failed

    async def _browse(self, nodes: Sequence[B], kind: Any) -> Sequence[Any]:
        asked = [
            ua.BrowseDescription(
                NodeId=node.node_id,
                BrowseDirection=ua.BrowseDirection.Forward,
                ReferenceTypeId=kind,
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
            with self._guard(self._url, "browsing"):
                try:
                    part = await call(chunk)
                except FOREIGN as exc:
                    if len(chunk) == 1 or status_of(exc) not in TOO_MUCH:
                        raise
                    limit = len(chunk) // 2
                    continue
            if len(part) != len(chunk):
                error = DeviceUnavailableError if self._guard is whole_session else ExchangeError
                raise error(f"{self._url} answered {len(part)} of {len(chunk)} operations")
            results += part
        return results


def plain(value: Any) -> Any:
    """Return what a DataValue holds; None if it holds nothing."""
    return value.Value.Value if value.Value is not None else None


def key_of(node_id: Any) -> Key:
    """Return what tells a node from others."""
    return node_id.NamespaceIndex, node_id.Identifier


def _limit(told: Any, most: int) -> int:
    return min(most, told) if isinstance(told, int) and told > 0 else most
