"""The document as a tree that remembers where everything was written."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from types import MappingProxyType

from edge_agent.config.problems import Path, Problem, write_path

Key = str | int
_NO_CHILDREN: "Mapping[Key, tuple[Node, Node]]" = MappingProxyType({})
"""Shared: most nodes are scalars, and a big file has hundreds of thousands."""


@dataclass(slots=True, eq=False)
class Node:
    """One value of the document. An alias is the same node once more.

    Attributes:
        line, column: 1-based place of its first character.
        value: plain data; ``SecretStr`` for a secret.
        text: the scalar as written, without quotes; None for a mapping or list.
        is_plain: a scalar without quotes.
        is_broken: a problem is known; what validation says of it is noise.
        is_partial: a mapping with keys that could not be read; what validation misses in it is noise.
        items: the values of a list.
        children: the key's and the value's node of each entry of a mapping.
        size, depth: values in it and levels below it, aliases expanded.
    """

    line: int
    column: int
    value: object = None
    text: str | None = None
    is_plain: bool = False
    is_broken: bool = False
    is_partial: bool = False
    items: "Sequence[Node]" = ()
    children: "Mapping[Key, tuple[Node, Node]]" = field(default_factory=lambda: _NO_CHILDREN)
    size: int = 1
    depth: int = 0

    def child(self, step: Key) -> "tuple[Node, Node] | None":
        """Return the node of the key (of the item itself in a list) and of the value."""
        if step in self.children:
            return self.children[step]
        if isinstance(step, int) and 0 <= step < len(self.items):
            return self.items[step], self.items[step]
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a location leads.

    Attributes:
        node: the innermost value that exists.
        key: the node of its key, or the node itself.
        path: the steps that lead to it.
        parents: the nodes on the way, outermost first, without ``node``.
        extra: steps that are no part of the document: a missing key, or branches of a union.
    """

    node: Node
    key: Node
    path: Path
    parents: tuple[Node, ...]
    extra: Path

    @property
    def is_broken(self) -> bool:
        """Whether the value, or one around it, has a problem that is already known."""
        return self.node.is_broken or any(parent.is_broken for parent in self.parents)


@dataclass(slots=True)
class Document:
    """A parsed file: its tree, the problems that are known so far, and the files that its secrets came from."""

    file: str
    root: Node
    problems: list[Problem] = field(default_factory=list)
    secret_files: AbstractSet[FilePath] = frozenset()

    def locate(self, location: Sequence[str | int]) -> Place:
        """Follow ``location``; steps that the document does not have are skipped and kept apart."""
        node = key = self.root
        path: list[Key] = []
        extra: list[Key] = []
        parents: list[Node] = []
        for step in location:
            found = node.child(step)
            if found is None:
                extra.append(step)
                continue
            parents.append(node)
            key, node = found
            path.append(step)
        return Place(node, key, tuple(path), tuple(parents), tuple(extra))

    def report(self, location: Sequence[str | int], message: str, *, at_key: bool = False) -> None:
        """Add a problem at the value that ``location`` leads to, or at its key."""
        place = self.locate(location)
        node = place.key if at_key else place.node
        # a key that is missing belongs to the path, but has no place of its own
        self.problems.append(
            Problem(self.file, node.line, node.column, write_path((*place.path, *place.extra)), message)
        )

    def items(self, key: str) -> Iterator[tuple[int, Node]]:
        """Yield position and node of the entries of the list at the top-level ``key``; nothing if it is none."""
        found = self.root.child(key)
        if found is not None:
            yield from enumerate(found[1].items)


def paths_by_node(root: Node | None) -> dict[int, str]:
    """Return ``id`` of each node → its path as people write it; an alias counts where it comes first."""
    paths: dict[int, str] = {}
    waiting: list[tuple[Path, Node]] = [] if root is None else [((), root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in paths:
            continue
        paths[id(node)] = write_path(path)
        for key, (key_node, value) in reversed([*node.children.items()]):
            waiting.append(((*path, key), value))
            paths[id(key_node)] = write_path((*path, key))
        waiting.extend(((*path, position), item) for position, item in reversed([*enumerate(node.items)]))
    return paths
