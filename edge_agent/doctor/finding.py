"""What the doctor says of one thing. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """How well it is. ``fail``: readings are or will be lost, or the agent cannot do its work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table.

    Attributes:
        subject: what was looked at.
        found: what was seen.
        remedy: what to do; empty where all is well.
    """

    subject: str
    standing: Standing
    found: str
    remedy: str = ""


def ok(subject: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(subject, Standing.OK, found)


def warn(subject: str, found: str, remedy: str) -> Finding:
    """Return what should be seen to."""
    return Finding(subject, Standing.WARN, found, remedy)


def fail(subject: str, found: str, remedy: str) -> Finding:
    """Return what must be seen to."""
    return Finding(subject, Standing.FAIL, found, remedy)
