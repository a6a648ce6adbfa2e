"""Addresses of nodes as integrators write them: ``nsu=http://example.com/cnc;s=Spindle.Speed``. Pure.

The notation is OPC 10000-6 §5.3.1.10 and .11. In a namespace URI ``%`` and ``;`` are written ``%25`` and ``%3B``.
"""

import base64
import binascii
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

CORE_NAMESPACE = "http://opcfoundation.org/UA/"
MAX_IDENTIFIER_LENGTH = 4096  # OPC 10000-3 §8.2.4
MAX_NAMESPACE_INDEX = 0xFFFF
MAX_NUMERIC = 0xFFFF_FFFF

_FORM = re.compile(
    r"(?:ns=(?P<index>[0-9]{1,5});|nsu=(?P<uri>[^;]+);)?(?P<kind>[isgb])=(?P<text>.+)", re.ASCII | re.DOTALL
)
_EXAMPLES = "write nsu=http://example.com/cnc;s=Spindle.Speed, ns=2;i=5 or i=2258"


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """The address of one node, before the namespaces of a server are known.

    Attributes:
        identifier: numeric, string, GUID or opaque.
        namespace_uri: survives that a server orders its namespaces anew; "" means ``namespace_index`` holds.
        namespace_index: as written, 0 without any.
    """

    identifier: int | str | uuid.UUID | bytes
    namespace_uri: str = ""
    namespace_index: int = 0

    def __str__(self) -> str:
        match self.identifier:
            case int():
                text = f"i={self.identifier}"
            case str():
                text = f"s={self.identifier}"
            case uuid.UUID():
                text = f"g={self.identifier}"
            case bytes():
                text = f"b={base64.b64encode(self.identifier).decode()}"
        if self.namespace_uri:
            return f"nsu={self.namespace_uri.replace('%', '%25').replace(';', '%3B')};{text}"
        return f"ns={self.namespace_index};{text}" if self.namespace_index else text

    def index_in(self, namespaces: Sequence[str]) -> int | None:
        """Return the namespace index that a server with these ``namespaces`` uses; None if it lacks the URI."""
        if not self.namespace_uri:
            return self.namespace_index
        if self.namespace_uri == CORE_NAMESPACE:
            return 0
        return namespaces.index(self.namespace_uri) if self.namespace_uri in namespaces else None


def parse_node_id(text: str) -> NodeAddress:
    """Return the address for ``nsu=<uri>;s=…``, ``ns=<index>;i=…`` or ``i=…`` (``s``, ``i``, ``g``, ``b``).

    Raises:
        ValueError: with a message that says what is wrong and what to write.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a node id; {_EXAMPLES}")
    index = int(match["index"] or 0)
    if index > MAX_NAMESPACE_INDEX:
        raise ValueError(f"namespace index {index} in {text!r} is greater than {MAX_NAMESPACE_INDEX}")
    uri = (match["uri"] or "").replace("%3B", ";").replace("%3b", ";").replace("%25", "%")
    return NodeAddress(_identifier(match["kind"], match["text"]), uri, index)


def _identifier(kind: str, text: str) -> int | str | uuid.UUID | bytes:
    if len(text) > MAX_IDENTIFIER_LENGTH:
        raise ValueError(f"an identifier has at most {MAX_IDENTIFIER_LENGTH} characters, this one has {len(text)}")
    if kind == "i":
        if not (text.isascii() and text.isdigit() and int(text) <= MAX_NUMERIC):
            raise ValueError(f"{text!r} after i= is not a whole number from 0 to {MAX_NUMERIC}")
        return int(text)
    if kind == "g":
        try:
            return uuid.UUID(text)
        except ValueError:
            raise ValueError(f"{text!r} after g= is not a GUID") from None
    if kind == "b":
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"{text!r} after b= is not Base64") from None
    if not text.isprintable():
        raise ValueError(f"{text!r} after s= has characters that cannot be printed")
    return text
