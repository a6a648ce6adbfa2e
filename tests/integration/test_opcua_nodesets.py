"""What the profile machine-tool looks for is what the published nodesets define."""

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import pytest

from edge_agent_opcua.browse.machine_tool import _PATTERNS, is_known
from tests.servers.opcua_server import install_node_opcua

NODESETS = ("MachineTool.NodeSet2", "Machinery.NodeSet2", "IA.NodeSet2", "Di.NodeSet2")
_TAG = "{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}"
_CORE = "http://opcfoundation.org/UA/"
_PARTS = {
    "i=46",
    "i=47",
    "i=35",
    "i=49",
    "i=17604",
}  # HasProperty, HasComponent, Organizes, HasOrderedComponent, HasAddIn
_INTERFACE, _TYPE, _SUBTYPE = "i=17603", "i=40", "i=45"
MAX_DEPTH = 6

Reference = tuple[str, str, bool]


class Model:
    """The nodes of the nodesets: class, name, and references (type, target, is forward)."""

    def __init__(self) -> None:
        self.nodes: dict[str, tuple[str, str, list[Reference]]] = {}
        self.subtypes = defaultdict[str, list[str]](list)
        folder = install_node_opcua() / "node_modules" / "node-opcua-nodesets" / "nodesets"
        for name in NODESETS:
            self._read(ET.parse(folder / f"Opc.Ua.{name}.xml").getroot())  # noqa: S314 - of a package that we install
        for key, (_, _, references) in self.nodes.items():
            for kind, target, is_forward in references:
                if kind == _SUBTYPE and not is_forward:
                    self.subtypes[target].append(key)

    def _read(self, root: ET.Element) -> None:
        uris = [_CORE, *(uri.text or "" for uri in root.iterfind(f"{_TAG}NamespaceUris/{_TAG}Uri"))]
        aliases = {one.attrib["Alias"]: one.text or "" for one in root.iterfind(f"{_TAG}Aliases/{_TAG}Alias")}

        def whole(written: str) -> str:
            text = aliases.get(written, written)
            index, _, identifier = text.rpartition(";")
            return f"{uris[int(index[3:] or 0) if index else 0]}|{identifier}"

        for node in root:
            if "NodeId" in node.attrib:
                references = [
                    (
                        aliases.get(one.attrib["ReferenceType"], one.attrib["ReferenceType"]),
                        whole(one.text or ""),
                        one.attrib.get("IsForward", "true") == "true",
                    )
                    for one in node.iterfind(f"{_TAG}References/{_TAG}Reference")
                ]
                name = node.attrib["BrowseName"].rpartition(":")[2]
                self.nodes[whole(node.attrib["NodeId"])] = (node.tag.removeprefix(_TAG), name, references)

    def by_name(self, name: str) -> str:
        (found,) = [
            key for key, (kind, known, _) in self.nodes.items() if kind == "UAObjectType" and known == name
        ]
        return found

    def paths(self, key: str, above: str, depth: int = 0) -> Iterator[str]:
        """Yield the path of each variable that an instance of ``key`` may have."""
        for child in self.children(key):
            kind, name, _ = self.nodes[child]
            path = f"{above}/{name}"
            if kind == "UAVariable":
                yield path
            if depth < MAX_DEPTH:
                yield from self.paths(child, path, depth + 1)

    def children(self, key: str) -> Iterator[str]:
        """Yield what is below a node by itself, its type, its supertypes and its interfaces."""
        for kind, target, is_forward in self.nodes[key][2]:
            if target in self.nodes:
                if kind in _PARTS and is_forward:
                    yield target
                elif (kind in {_TYPE, _INTERFACE} and is_forward) or (kind == _SUBTYPE and not is_forward):
                    yield from self.children(target)

    def below(self, key: str) -> Iterator[str]:
        for subtype in self.subtypes[key]:
            yield subtype
            yield from self.below(subtype)


@cache
def paths() -> frozenset[str]:
    """Return the paths of a machine tool that has everything, with each kind of element that is monitored."""
    model = Model()
    found = set(model.paths(model.by_name("MachineToolType"), "M"))
    for element in model.below(model.by_name("ElementMonitoringType")):
        found.update(model.paths(element, "M/Monitoring/Element"))
    for element in model.below(model.by_name("StackElementType")):
        found.update(model.paths(element, "M/Monitoring/Stacklight/Red"))
    return frozenset(found)


@pytest.mark.parametrize(
    "pattern", [pattern for pattern, _, _ in _PATTERNS], ids=lambda pattern: pattern.pattern[10:]
)
def test_what_is_looked_for_is_defined(pattern: object) -> None:
    assert any(pattern.fullmatch(path) for path in paths())  # type: ignore[attr-defined]


def test_what_a_machine_tool_tells_of_its_work_is_looked_for() -> None:
    monitored = {
        path for path in paths() if path.startswith(("M/Monitoring/", "M/Production/")) and is_known(path)
    }
    ends = {path.rpartition("/")[2] for path in monitored}
    assert {"ChannelState", "ChannelMode", "FeedOverride", "RapidOverride", "Override", "IsRotating"} <= ends
    assert {"LaserState", "ControllerIsOn", "EDMGeneratorState", "IsOn", "SignalOn", "StacklightMode"} <= ends
    assert {"Name", "NumberInList", "PartsProducedInLifetime", "PowerOnDuration", "OperationMode"} <= ends
