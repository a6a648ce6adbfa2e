"""Plain scalars by the core schema of YAML 1.2.2 §10.3.2.

``no``, ``on``, ``12:30:45`` and ``2026-11-23`` are text, ``010`` is ten, ``0o10`` is eight.
"""

import re

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED = re.compile(r"0o([0-7]+)|0x([0-9a-fA-F]+)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
_MAY_BE_NUMBER = frozenset("+-.0123456789")
_MAX_DIGITS = 100

Scalar = str | int | float | bool | None


def parse_plain(text: str) -> Scalar:
    """Return the value of an unquoted scalar.

    Raises:
        ValueError: a number of more than 100 characters.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    return _number(text) if text[0] in _MAY_BE_NUMBER else text


def _number(text: str) -> Scalar:
    based = _BASED.fullmatch(text)
    is_int = based is not None or _INT.fullmatch(text) is not None
    if not is_int and not _FLOAT.fullmatch(text):
        infinite = _INFINITE.fullmatch(text)
        if infinite:
            return float(f"{infinite[1]}inf")
        return float("nan") if text in _NAN else text
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of more than {_MAX_DIGITS} characters; put it in quotes if it is text")
    if based:
        return int(based[1], 8) if based[1] else int(based[2], 16)
    return int(text) if is_int else float(text)
