"""Names of points that are made of the names of nodes. Pure."""

import re
from collections import Counter

from edge_agent.model import check_id

_MAX_LENGTH = 64
_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_LETTER = re.compile(r"[^A-Za-z0-9]+")


class Names:
    """Gives each node of a browse a name of its own: short where that is enough, with its parents' where not."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbered = Counter[str]()

    def name(self, path: tuple[str, ...]) -> str:
        """Return a name for the node at ``path``, which is its browse names from the outermost on."""
        words = [word for word in map(snake_case, path) if word]
        name = ""
        for word in reversed(words):
            longer = f"{word}_{name}" if name else word
            if len(longer) > _MAX_LENGTH:
                break
            name = longer
            if self._take(name):
                return name
        stem = name or "point"
        while True:
            self._numbered[stem] += 1
            number = f"_{self._numbered[stem]}"
            name = stem[: _MAX_LENGTH - len(number)] + number
            if self._take(name):
                return name

    def _take(self, name: str) -> bool:
        if name in self._taken:
            return False
        self._taken.add(check_id(name))
        return True


def snake_case(name: str) -> str:
    """Return ``spindle_speed`` for ``SpindleSpeed`` or ``Spindle.Speed``; empty if nothing fits into an id."""
    return _NO_LETTER.sub("_", _WORD_BORDER.sub("_", name)).strip("_").lower()[:_MAX_LENGTH].rstrip("_")
