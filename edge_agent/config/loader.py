"""YAML to a tree of plain data with places: strict, bounded, every mistake of the document at once.

Composed from parser events, not by ``yaml.compose``: the C composer recurses and takes the process down on
deep nesting, stops at the first mistake, and knows YAML 1.1 only (docs/adr/0005-configuration.md).
"""

from collections.abc import Callable
from pathlib import Path

import yaml
from pydantic import SecretStr

from edge_agent.config import source, syntax
from edge_agent.config.node import Document, Key, Node, paths_by_node
from edge_agent.config.problems import Problem
from edge_agent.config.scalars import parse_plain
from edge_agent.config.tags import SECRET_TAGS, Secrets
from edge_agent.errors import ConfigError

MAX_DEPTH = 50
MAX_NODES = 1_000_000
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StopError(Exception):
    """The rest of the document cannot be read."""


def parse(text: str, file: Path, secrets: Secrets) -> Document:
    """Return the document; ``problems`` holds what is wrong with it as YAML.

    Raises:
        ConfigError: a syntax error, an empty document, or one without a mapping at its top.
    """
    return _Composer(text, file, secrets).compose()


def load_document(path: Path, secrets_of: Callable[[Path], Secrets] = Secrets) -> tuple[source.Source, Document]:
    """Read and parse ``path``; ``secrets_of`` its folder resolves the secrets.

    Raises:
        ConfigError: as ``source.read`` and ``parse``.
    """
    read = source.read(path)
    return read, parse_source(read, secrets_of)


def parse_source(read: source.Source, secrets_of: Callable[[Path], Secrets] = Secrets) -> Document:
    """Parse a file that was read; ``secrets_of`` its folder resolves the secrets.

    Raises:
        ConfigError: as ``parse``.
    """
    return parse(read.text, read.path, secrets_of(read.path.parent))


class _Composer:
    def __init__(self, text: str, file: Path, secrets: Secrets) -> None:
        self._text = text
        self._file = str(file)
        self._secrets = secrets
        self._mistakes: list[tuple[Node, Node, str]] = []
        self._open: list[Node] = []
        self._entries: list[list[Node]] = []  # of each open list or mapping: keys and values alternate
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None

    def compose(self) -> Document:
        try:
            self._read_events()
        except _StopError:
            raise ConfigError(self._problems()) from None
        except yaml.MarkedYAMLError as exc:
            raise ConfigError([*self._problems(), self._syntax_problem(exc)]) from exc
        except yaml.reader.ReaderError as exc:
            raise ConfigError([self._character_problem(exc)]) from exc
        if self._root is None or (self._root.is_plain and self._root.text == ""):
            raise ConfigError(
                [Problem(self._file, 1, 1, "", "the file is empty; start from configs/minimal.yaml")]
            )
        if not isinstance(self._root.value, dict):
            self._report(self._root, "the top of the file must be a mapping of keys: gateway:, outbox:, …")
            raise ConfigError(self._problems())
        return Document(self._file, self._root, self._problems(), self._secrets.files)

    def _read_events(self) -> None:
        for event in yaml.parse(self._text, Loader=_Loader):
            match event:
                case yaml.ScalarEvent():
                    self._add(self._scalar(event))
                case yaml.AliasEvent():
                    self._add(self._alias(event))
                case yaml.CollectionStartEvent():
                    self._begin(event)
                case yaml.SequenceEndEvent():
                    self._add(self._end_list(self._open.pop(), self._entries.pop()))
                case yaml.MappingEndEvent():
                    self._add(self._end_mapping(self._open.pop(), self._entries.pop()))
                case yaml.DocumentStartEvent() if self._root is not None:
                    self._report(_node(event), "a second document; one file is one document, remove the ---")
                    return
                case _:
                    pass

    def _add(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        self._entries[-1].append(node)
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.size > MAX_NODES:
            self._report(node, f"more than {MAX_NODES} values, aliases counted where they are used")
            raise _StopError

    def _begin(self, event: "yaml.CollectionStartEvent") -> None:
        node = _node(event)
        if event.tag is not None:
            self._report(node, _tag_message(event.tag, "must be followed by a name, not by a list or mapping"))
            node.is_broken = True
        if len(self._open) >= MAX_DEPTH:
            self._report(node, _TOO_DEEP)
            raise _StopError
        self._anchor(event, node)
        self._open.append(node)
        self._entries.append([])

    def _scalar(self, event: "yaml.ScalarEvent") -> Node:
        node = _node(event)
        node.text = event.value
        self._anchor(event, node)
        try:
            if event.tag is not None:
                node.value = SecretStr("")
                node.value = SecretStr(self._secrets.resolve(event.tag, event.value))
            elif event.implicit[0]:
                node.is_plain = True
                node.value = parse_plain(event.value)
            else:
                event.value.encode()  # an escape can write half a surrogate pair
                node.value = event.value
        except UnicodeEncodeError:
            self._report(node, "half a surrogate pair is not a character")
            node.is_broken = True
        except ValueError as exc:
            self._report(node, str(exc))
            node.is_broken = True
        return node

    def _alias(self, event: "yaml.AliasEvent") -> Node:
        target = self._anchors.get(event.anchor or "")
        message = ""
        if target is None:
            message = f"no anchor &{event.anchor} before this alias"
        elif target in self._open:
            message = f"the alias *{event.anchor} is inside the value that it names"
        elif len(self._open) + target.depth > MAX_DEPTH:
            message = _TOO_DEEP
        if target is not None and not message:
            return target
        broken = _node(event)
        broken.is_broken = True
        self._report(broken, message)
        return broken

    def _anchor(self, event: "yaml.NodeEvent", node: Node) -> None:
        if event.anchor is None:
            return
        if event.anchor in self._anchors:
            self._report(node, f"the anchor &{event.anchor} is already used")
        self._anchors[event.anchor] = node

    def _end_list(self, node: Node, items: list[Node]) -> Node:
        node.items = items
        node.value = [item.value for item in items]
        return node

    def _end_mapping(self, node: Node, entries: list[Node]) -> Node:
        children: dict[Key, tuple[Node, Node]] = {}
        node.children = children
        for key_node, value_node in zip(entries[::2], entries[1::2], strict=True):
            key = self._key(key_node, node)
            if key is None:
                node.is_partial = True
            elif key in children:
                first = children[key][0]
                message = f"the key {key_node.text!r} is already in line {first.line}; remove one"
                self._report(key_node, message, like=first)
            else:
                children[key] = (key_node, value_node)
        node.value = {key: value.value for key, (_, value) in children.items()}
        return node

    def _key(self, node: Node, mapping: Node) -> Key | None:
        if node.is_broken:
            return None
        if node.is_plain and node.text == "<<":
            message = "merge keys (<<) are not part of YAML 1.2; write the keys, or use *alias as a value"
            self._report(node, message, like=mapping)
            return None
        if isinstance(node.value, str | int) and not isinstance(node.value, bool):
            return node.value
        hint = f'; put it in quotes: "{node.text}"' if node.is_plain else ""
        self._report(node, f"a key must be a word or a whole number{hint}", like=mapping)
        return None

    def _report(self, node: Node, message: str, like: Node | None = None) -> None:
        """Note a mistake at ``node``; its path is that of ``like`` where it has none of its own."""
        self._mistakes.append((node, like or node, message))

    def _problems(self) -> list[Problem]:
        paths = paths_by_node(self._open[0] if self._open else self._root) if self._mistakes else {}
        return sorted(
            Problem(self._file, node.line, node.column, paths.get(id(like), ""), message)
            for node, like, message in self._mistakes
        )

    def _syntax_problem(self, error: yaml.MarkedYAMLError) -> Problem:
        if (mark := error.problem_mark) and "nesting depth" in (error.problem or ""):
            # libyaml has a limit of its own since 0.2.6, and looks ahead: ours, which is lower, comes too late.
            return Problem(self._file, mark.line + 1, mark.column + 1, "", _TOO_DEEP)
        trouble = syntax.explain(error, self._text)
        return Problem(self._file, trouble.line, trouble.column, "", f"not YAML: {trouble.message}")

    def _character_problem(self, error: "yaml.reader.ReaderError") -> Problem:
        character = error.character
        number = ord(character) if isinstance(character, str) else int(character)
        before = self._text.partition(chr(number))[0].split("\n")
        message = f"the control character U+{number:04X} cannot stand in YAML"
        return Problem(self._file, len(before), len(before[-1]) + 1, "", message)


def _node(event: yaml.Event) -> Node:
    mark = event.start_mark
    return Node(mark.line + 1, mark.column + 1) if mark else Node(1, 1)


def _tag_message(tag: str, rest: str) -> str:
    return f"{tag} {rest}" if tag in SECRET_TAGS else f"unknown tag {tag}; known are {', '.join(SECRET_TAGS)}"
