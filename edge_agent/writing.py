"""The ability of a driver to write points. Part of the contract; nothing in the agent calls it yet."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class WriteOutcome(StrEnum):
    """What became of a write; only ``DONE`` is a success, and none of them is ever followed by a second try."""

    DONE = "done"  # the device said so, and it reads back as written
    REFUSED = "refused"  # nothing was changed: the value is not for this point, or the device said no
    FAILED = "failed"  # the value is not there: it was never sent, or something else reads back
    UNKNOWN = "unknown"  # sent, and nobody can say whether it was carried out


@dataclass(frozen=True, slots=True)
class WriteResult:
    """How a write ended; the reason is for people, empty if it was done."""

    outcome: WriteOutcome
    reason: str = ""


class Writer(Protocol):
    """The ability to write points over one live session."""

    async def write(self, point: int, value: bool | float | str | bytes) -> WriteResult:  # noqa: FBT001
        """Write one value, as it would be read (scaled, labelled), at most once, and read it back.

        Raises nothing of the device's doing: that is the result. Never tries again.

        On cancellation (the agent's time-out is one) the outcome is ``UNKNOWN``: the request may have been sent.
        """
        ...
