"""Durations and sizes as people write them: a number and its unit."""

import re

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
DURATION_UNITS_S = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SIZE_UNITS_BYTES = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip


def parse_duration_s(text: str) -> float:
    """Return seconds for ``500ms``, ``1.5s``, ``5min``, ``2h``, ``7d``.

    Raises:
        ValueError: no number, or a missing or unknown unit.
    """
    return _parse(text, DURATION_UNITS_S, "duration", "500ms")


def parse_size_bytes(text: str) -> int:
    """Return bytes for ``256KiB``, ``4GiB``, ``10MB``.

    Raises:
        ValueError: no number, a missing or unknown unit, or a fraction of a byte.
    """
    size = _parse(text, SIZE_UNITS_BYTES, "size", "256KiB")
    if size != int(size):
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def format_duration(seconds: float) -> str:
    """Return the shortest exact-enough writing: ``500ms``, ``1.5s``, ``5min``."""
    for unit in ("d", "h", "min", "s"):
        factor = DURATION_UNITS_S[unit]
        if seconds >= factor and (seconds % factor == 0 or unit == "s"):
            return f"{seconds / factor:g}{unit}"
    return f"{seconds * 1e3:g}ms"


def _parse(text: str, units: dict[str, float] | dict[str, int], kind: str, example: str) -> float:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a {kind}; write a number and a unit, such as {example}")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"{text!r} has no unit; write {number} and one of {', '.join(units)}, such as {example}")
    if unit not in units:
        raise ValueError(f"unknown unit {unit!r} in {text!r}; known are {', '.join(units)}")
    return float(number) * units[unit]
