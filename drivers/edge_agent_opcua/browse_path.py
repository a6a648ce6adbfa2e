"""Addresses of nodes by the way to them: ``/Objects/nsu=http://example.com/cnc;CNC/Spindle/Speed``. Pure.

A path begins at the server's root (i=84) and follows hierarchical references. Each step is a browse name; one
without a namespace is in that of the step before, the first one in the namespace of OPC UA itself. ``&`` takes its
meaning from the character that follows (OPC 10000-4 annex A.2).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_agent_opcua.node_id import MAX_NAMESPACE_INDEX, NodeAddress, parse_node_id

MAX_STEPS = 32
_PREFIX = re.compile(r"(?:(?P<index>[0-9]{1,5}):|nsu=(?P<uri>[^;]+);)", re.ASCII)
_EXAMPLE = "write /Objects/nsu=http://example.com/cnc;CNC/Spindle/Speed or /Objects/2:CNC/Speed"


@dataclass(frozen=True, slots=True)
class BrowsePath:
    """A way from the root.

    Attributes:
        text: as it was written.
        steps: namespace and browse name of each node on it.
    """

    text: str
    steps: tuple[tuple[NodeAddress, str], ...]

    def __str__(self) -> str:
        return self.text

    def indexes_in(self, namespaces: Sequence[str]) -> list[tuple[int, str]] | None:
        """Return namespace index and browse name of each step; None if the server lacks one of the URIs."""
        found = []
        for namespace, name in self.steps:
            index = namespace.index_in(namespaces)
            if index is None:
                return None
            found.append((index, name))
        return found


Address = NodeAddress | BrowsePath


def parse_address(text: str) -> Address:
    """Return the browse path that ``text`` is, if it begins with ``/``, or else the node id.

    Raises:
        ValueError: with a message that says what is wrong and what to write.
    """
    if not text.startswith("/"):
        return parse_node_id(text)
    steps = tuple(_steps(text))
    if len(steps) > MAX_STEPS:
        raise ValueError(f"{text!r} has {len(steps)} steps, more than {MAX_STEPS}")
    return BrowsePath(text, steps)


def _steps(text: str) -> Iterator[tuple[NodeAddress, str]]:
    namespace, at = NodeAddress(0), 0
    while at < len(text):
        at += 1  # behind the slash
        prefix = _PREFIX.match(text, at)
        if prefix is not None:
            at = prefix.end()
            index = int(prefix["index"] or 0)
            if index > MAX_NAMESPACE_INDEX:
                raise ValueError(f"namespace index {index} in {text!r} is greater than {MAX_NAMESPACE_INDEX}")
            namespace = NodeAddress(0, (prefix["uri"] or "").replace("%3B", ";").replace("%25", "%"), index)
        elif text.startswith("nsu=", at):
            raise ValueError(f"a namespace in {text!r} does not end with ;: {_EXAMPLE}")
        name = ""
        while at < len(text) and text[at] != "/":
            at += text[at] == "&"
            if at == len(text):
                raise ValueError(f"{text!r} ends with &, which takes its meaning from what follows")
            name += text[at]
            at += 1
        if not name:
            raise ValueError(f"{text!r} has a step without a name; {_EXAMPLE}")
        yield namespace, name
