"""Looks below a node of a server for the variables that entries under ``browse:`` ask for.

Level by level and in the order of the names, so that the same server gives the same paths in whatever order it
tells them; a node that hangs in several places is known by the shortest way to it, the first of several. What is
kept is the ids of the nodes that were looked into, and one level, both bounded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from asyncua import ua

from edge_agent_opcua.entry import OpcUaBrowse
from edge_agent_opcua.found import FoundNode
from edge_agent_opcua.services import Services
from edge_agent_opcua.tree import HAS_PROPERTY, Key, Tree, key_of

MAX_NODES = 100_000
"""Looked into below one node, or on one level."""


@dataclass(frozen=True, slots=True)
class _Node:
    node_id: Any
    path: tuple[str, ...]
    is_variable: bool = False


class Search:
    """Below one node.

    Args:
        below: the node as it is written.
        entries: those that look there.
        is_own: leave out what the standard itself defines, which is about the server.
        miss: told what could not be looked into.
    """

    def __init__(
        self,
        tree: Tree,
        services: Services,
        below: str,
        entries: Sequence[OpcUaBrowse],
        miss: Callable[[str], None],
        *,
        is_own: bool,
    ) -> None:
        self._tree = tree
        self._services = services
        self._below = below
        self._entries = entries
        self._is_own = is_own
        self._miss = miss
        self._looked: set[Key] = set()
        self._matching: dict[Key, _Node] = {}
        self._following: list[_Node] = []
        self._is_full = False

    async def run(self, start: Any) -> Iterator[tuple[FoundNode, Any]]:
        """Return the variables below ``start`` that match, each with its id.

        Raises:
            DriverError: it could not be asked.
        """
        self._looked.add(key_of(start))
        level = [_Node(start, ())]
        while level:
            self._following = []
            size = self._tree.nodes_per_browse
            for begin in range(0, len(level), size):
                await self._services.renew_channel()
                for node, why in await self._tree.look_into(level[begin : begin + size], self._take):
                    self._miss(f"{'/'.join(node.path) or self._below}: {why}")
            level = self._next_level()
        if self._is_full:
            self._miss(f"there are more than {MAX_NODES} nodes below {self._below}")
        return self._found()

    def _take(self, parent: _Node, references: Sequence[Any]) -> None:
        for reference in references:
            node_id = self._tree.local(reference.NodeId)
            if node_id is None or reference.ReferenceTypeId == HAS_PROPERTY:
                continue
            if self._is_own and node_id.NamespaceIndex == 0:
                continue
            if len(self._following) >= MAX_NODES:
                self._is_full = True
                return
            path = (*parent.path, str(reference.BrowseName.Name))
            self._following.append(_Node(node_id, path, reference.NodeClass == ua.NodeClass.Variable))

    def _next_level(self) -> list[_Node]:
        """Take what matches of the level below, and return what of it is to be looked into."""
        level = []
        for one in sorted(self._following, key=lambda one: one.path):
            key = key_of(one.node_id)
            if one.is_variable and any(entry.takes(one.path) for entry in self._entries):
                self._matching.setdefault(key, one)
            if key in self._looked or not any(entry.looks_into(one.path) for entry in self._entries):
                continue
            if len(self._looked) >= MAX_NODES:
                self._is_full = True
                break
            self._looked.add(key)
            level.append(one)
        return level

    def _found(self) -> Iterator[tuple[FoundNode, Any]]:
        addressed = sorted(
            ((one.path, self._tree.address(one.node_id), one.node_id) for one in self._matching.values()),
            key=lambda one: one[:2],
        )
        for path, twins in groupby(addressed, key=lambda one: one[0]):
            for twin, (_, address, node_id) in enumerate(twins):
                yield FoundNode(self._below, path, twin, address), node_id
