"""Readings that a device took and that never came."""

from dataclasses import dataclass
from enum import StrEnum


class LossReason(StrEnum):
    """Why they never came."""

    OVERFLOW = "overflow"
    """The device's own queue was full."""
    MISSED = "missed"
    """The device sent them, or should have, and they did not arrive."""
    OUTAGE = "outage"
    """Nobody listened: the device reports changes, and the session with it was lost."""


@dataclass(frozen=True, slots=True)
class Lost:
    """What a session finds out to be missing.

    Attributes:
        points: point indexes that readings are missing of, or may be.
        t_first_ns: nothing is missing before, UTC nanoseconds.
        t_last_ns: nor after.
        readings: so many at the least; 0 if nobody can say.
    """

    points: tuple[int, ...]
    t_first_ns: int
    t_last_ns: int
    reason: LossReason
    readings: int = 0
