"""What validation found, in the words of someone who edits the file."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from pydantic import SecretStr
from pydantic_core import ErrorDetails

from edge_agent.config.node import Node
from edge_agent.model.quantity import (
    SIZE_UNITS_BYTES,
    format_duration,
    parse_duration_s,
    parse_size_bytes,
)

EXPECTED = {
    "bool_type": "true or false",
    "bytes_type": "text",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "invalid_key": "text",
    "is_instance_of": "a list",  # strict models of plain data: Sequence
    "none_required": "empty",
    "path_type": "text",
    "sequence_str": "a list",
    "set_type": "a list",
    "string_type": "text",
    "tuple_type": "a list",
}
"""Type of error → what the value must be."""

_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_CHOICES = {"literal_error": "expected", "enum": "expected", "union_tag_invalid": "expected_tags"}
_LENGTHS = {
    "string_too_short": ("min_length", "at least {} characters"),
    "string_too_long": ("max_length", "at most {} characters"),
    "too_short": ("min_length", "at least {} entries"),
    "too_long": ("max_length", "at most {} entries"),
}
_YAML_1_1_BOOL = frozenset({"yes", "no", "on", "off", "y", "n"})
_GLUED = re.compile(r"[\w.-]+[:：][^\s/]")
MISSING_SPACE = "write ': ', a colon with a space after it"
_QUOTED = re.compile(r"'([^']*)'")
_SHOWN = 60
NOT_A_SECRET = "a secret cannot stand here; write the value itself"  # noqa: S105 - a message
_LITERAL_SECRET = (
    "a secret is never written in the file; name its place: "  # noqa: S105 - a message
    "!credential NAME (systemd), !file PATH or !env NAME"
)


def literal_secret(exposed: str | None) -> str:
    """Return what is wrong with a secret in the document; ``exposed`` says who else has read it."""
    return f"{_LITERAL_SECRET}; {exposed}, and change the secret: it is known" if exposed else _LITERAL_SECRET


def explain(error: ErrorDetails, node: Node) -> str:
    """Return what is wrong with the value of ``node`` and what to write instead."""
    kind = error["type"]
    context: dict[str, Any] = error.get("ctx") or {}
    if isinstance(error["input"], SecretStr):
        return NOT_A_SECRET
    if kind in EXPECTED:
        return wrong_type([EXPECTED[kind]], node)
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"must be {bound} {_like(node, context[word])}, not {_shown(node)}"
    if kind in _LENGTHS:
        word, bound = _LENGTHS[kind]
        return f"must have {bound.format(context[word])}"
    if kind in _CHOICES:
        return _one_of(_QUOTED.findall(str(context[_CHOICES[kind]])), node)
    return _in_its_own_words(error, context)


def _in_its_own_words(error: ErrorDetails, context: dict[str, Any]) -> str:
    if "error" in context:  # raised by a validator of ours or of a driver
        return str(context["error"])
    message = error["msg"].removeprefix("Input ")
    return message[:1].lower() + message[1:]


def wrong_type(expected: Iterable[str], node: Node) -> str:
    """Return that ``node`` must be one of ``expected``, and how to write that if it nearly is."""
    words = list(dict.fromkeys(expected))
    if node.text is not None and node.value is None and "empty" not in words:
        return f"has no value; it must be {', or '.join(words)}"
    message = f"must be {', or '.join(words)}, not {_described(node)}"
    if "text" in words and node.is_plain:
        return f'{message}; put it in quotes: "{node.text}"'
    if "a mapping" in words and node.is_plain and _GLUED.match(node.text or ""):
        return f"{message}; {MISSING_SPACE}"
    if "true or false" in words and node.text is not None and node.text.lower() in _YAML_1_1_BOOL:
        return f"{message}; YAML 1.2 knows only true and false"
    return message


def unknown_key(key: object, known: Iterable[str]) -> str:
    """Return that ``key`` may not stand here, and which one was perhaps meant."""
    if isinstance(key, str) and _GLUED.match(key):
        return f"unknown key {_cut(key)!r}; {MISSING_SPACE}"
    return f"unknown key {_cut(str(key))!r}{did_you_mean(key, known)}"


def missing_key(key: object) -> str:
    """Return that ``key`` must be there."""
    return f"the key {str(key)!r} is missing"


def did_you_mean(written: object, known: Iterable[str]) -> str:
    """Return ``; did you mean 'interval'?``, or which words there are."""
    choices = list(known)
    close = close_to(written, choices)
    if close is not None:
        return f"; did you mean {close!r}?"
    return f"; known are {', '.join(sorted(choices))}" if choices else ""


def close_to(written: object, known: Iterable[str]) -> str | None:
    """Return the word that was perhaps meant."""
    return next(iter(difflib.get_close_matches(str(written)[:_SHOWN], list(known), n=1, cutoff=0.7)), None)


def _one_of(choices: list[str], node: Node) -> str:
    if node.is_plain and node.text in choices and not isinstance(node.value, str):
        return f'put it in quotes: "{node.text}"'
    if node.text is None:
        return f"must be one of {', '.join(choices)}, not {_described(node)}"
    close = close_to(node.text, choices)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"must be {' or '.join(choices)}, not {_shown(node)}{hint}"


def _described(node: Node) -> str:
    if node.text is None:
        return "a mapping" if isinstance(node.value, dict) else "a list"
    if isinstance(node.value, str):
        return f"the text {_shown(node)}"
    if node.value is None:
        return "empty"
    return _shown(node) if isinstance(node.value, bool) else f"the number {_shown(node)}"


def _shown(node: Node) -> str:
    if node.text is None:
        return _described(node)
    text = _cut(node.text)
    return repr(text) if isinstance(node.value, str) else text


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _like(node: Node, bound: Any) -> str:
    """Return ``bound`` in the unit in which the value was written."""
    if isinstance(node.value, str) and isinstance(bound, int | float):
        for parse, write in ((parse_duration_s, format_duration), (parse_size_bytes, format_size)):
            try:
                parse(node.value)
            except ValueError:
                continue
            return write(bound) if bound else f"0{_unit(node.value)}"
    return str(int(bound)) if isinstance(bound, float) and bound.is_integer() else str(bound)


def _unit(text: str) -> str:
    return text.strip().lstrip("0123456789. ")


def format_size(size_bytes: float) -> str:
    """Return the shortest exact writing of whole bytes: ``256KiB``, ``10MB``, ``1000B``."""
    for unit in ("GiB", "MiB", "KiB", "GB", "MB", "kB"):
        if size_bytes and size_bytes % SIZE_UNITS_BYTES[unit] == 0:
            return f"{int(size_bytes) // SIZE_UNITS_BYTES[unit]}{unit}"
    return f"{int(size_bytes)}B"
