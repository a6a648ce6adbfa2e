"""Globs over the browse names below a node: ``Spindle/*``, ``**/Speed``. Pure.

A name stands for itself, whatever its namespace; in it ``*`` is any text and ``?`` any character. A step ``**`` is
any number of levels, none among them. ``&`` takes its meaning from the character that follows, as in browse paths.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

MAX_STEPS = 32
_EXAMPLE = "write Spindle/* or **/Speed"


@dataclass(frozen=True, slots=True)
class Glob:
    """What a path below a node has to look like.

    Attributes:
        steps: a pattern for each name of the path; None: for any number of them.
    """

    steps: tuple[re.Pattern[str] | None, ...]

    def matches(self, path: Sequence[str]) -> bool:
        """Return whether ``path`` is such a one."""
        return len(self.steps) in self._reached(path)

    def may_lead(self, path: Sequence[str]) -> bool:
        """Return whether a longer path than ``path``, that begins with it, may be such a one."""
        return any(at < len(self.steps) for at in self._reached(path))

    def _reached(self, path: Sequence[str]) -> set[int]:
        """Return how many steps may be done with after ``path``."""
        reached = self._skipped({0})
        for name in path:
            after = set()
            for at in reached:
                if at == len(self.steps):
                    continue
                step = self.steps[at]
                if step is None:
                    after.add(at)
                elif step.fullmatch(name):
                    after.add(at + 1)
            reached = self._skipped(after)
        return reached

    def _skipped(self, reached: set[int]) -> set[int]:
        """Add where one is without a name for ``**``."""
        for at in sorted(reached):
            here = at
            while here < len(self.steps) and self.steps[here] is None:
                here += 1
                reached.add(here)
        return reached


@lru_cache(maxsize=256)
def parse_glob(text: str) -> Glob:
    """Return the glob that ``text`` is.

    Raises:
        ValueError: with a message that says what is wrong and what to write.
    """
    if text.startswith("/"):
        raise ValueError(f"{text!r} begins with /, but is below a node already; {_EXAMPLE}")
    steps: list[re.Pattern[str] | None] = []
    at = 0
    while at <= len(text):
        end, pattern = _step(text, at)
        if end == at:
            raise ValueError(f"{text!r} has a step without a name; {_EXAMPLE}")
        steps.append(None if text[at:end] == "**" else re.compile(pattern, re.DOTALL))
        at = end + 1
    if len(steps) > MAX_STEPS:
        raise ValueError(f"{text!r} has {len(steps)} steps, more than {MAX_STEPS}")
    return Glob(tuple(steps))


def _step(text: str, at: int) -> tuple[int, str]:
    """Return where the step at ``at`` ends, and its pattern."""
    pattern = ""
    while at < len(text) and text[at] != "/":
        char = text[at]
        if char == "&":
            at += 1
            if at == len(text):
                raise ValueError(f"{text!r} ends with &, which takes its meaning from what follows")
            pattern += re.escape(text[at])
        else:
            pattern += {"*": ".*", "?": "."}.get(char) or re.escape(char)
        at += 1
    return at, pattern
