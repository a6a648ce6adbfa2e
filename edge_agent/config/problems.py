"""A mistake in the configuration and its place."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the document, as written."""

_PLAIN_KEY = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake; sorts by place.

    Attributes:
        file: the YAML file, as the caller named it.
        line: 1-based.
        column: 1-based, in characters.
        path: ``devices[3].points[0].interval``; empty for the whole document.
        message: what is wrong and what to write instead. Never holds the value of a secret.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: "
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


def write_path(path: Sequence[str | int]) -> str:
    """Return ``path`` as people write it; keys that are not plain words are quoted."""
    words: list[str] = []
    for step in path:
        if isinstance(step, int):
            words.append(f"[{step}]")
        elif not _PLAIN_KEY.fullmatch(step):
            words.append(f"[{json.dumps(step, ensure_ascii=False)}]")
        else:
            words.append(f".{step}" if words else step)
    return "".join(words)
