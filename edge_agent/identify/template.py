"""Suffix templates: ``EQ.{device}.{point}``. Pure. What cannot stand in a code is refused, never replaced."""

import re
from collections.abc import Mapping

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Fault, bad_minted_char

_PART = re.compile(r"\{(?P<name>[^{}]*)\}|(?P<text>[^{}]+)|(?P<brace>[{}])")


def fill_suffix(template: str, values: Mapping[str, str]) -> str:
    """As ``fill``, and the text between the placeholders must be able to stand in a code.

    Raises:
        IdentifierError: as ``fill``; ``bad_template`` for the text.
    """
    for part in _PART.finditer(template):
        bad = bad_minted_char(part["text"] or "")
        if bad >= 0:
            hint = f"{part['text'][bad]!r} cannot stand in a code; use A-Z a-z 0-9 . _ - and placeholders"
            raise _error(template, Fault.BAD_TEMPLATE, part.start() + bad, hint)
    return fill(template, values)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return ``template`` with each ``{name}`` replaced by its value.

    Raises:
        IdentifierError: ``unknown_placeholder`` (the hint lists the known ones), ``bad_template`` (a brace alone)
            or ``bad_suffix_char`` (a value that is empty or cannot stand in a code). Positions are the template's.
    """
    parts = []
    for part in _PART.finditer(template):
        if part["brace"]:
            raise _error(template, Fault.BAD_TEMPLATE, part.start(), "write placeholders as {device}")
        parts.append(part["text"] if part["text"] is not None else _value(template, part, values))
    return "".join(parts)


def _value(template: str, part: re.Match[str], values: Mapping[str, str]) -> str:
    name = part["name"]
    if name not in values:
        known = ", ".join(f"{{{word}}}" for word in values)
        raise _error(
            template, Fault.UNKNOWN_PLACEHOLDER, part.start(), f"{{{name}}} is not known here; known: {known}"
        )
    value = values[name]
    bad = bad_minted_char(value)
    if not value or bad >= 0:
        reason = f"{value[bad]!r} in {value!r} cannot stand in a code" if value else "the value is empty"
        hint = f"{{{name}}}: {reason}; use A-Z a-z 0-9 . _ - or set identifier: for this object"
        raise _error(template, Fault.BAD_SUFFIX_CHAR, part.start(), hint)
    return value


def _error(template: str, fault: Fault, position: int, hint: str) -> IdentifierError:
    return IdentifierError(
        f"template {template!r}, character {position + 1}", code=fault, position=position, hint=hint
    )
