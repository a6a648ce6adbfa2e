"""What the configuration says about the outbox."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class WhenFull(StrEnum):
    """What gives way when the log is at its bound.

    DROP_OLDEST gives up rows of the lowest class, the oldest first. DROP_NEWEST does not take new readings of the
    lowest class that is there. BLOCK takes nothing until a publisher has confirmed something: devices wait.
    """

    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """The durable log.

    Attributes:
        directory: state directory; holds ``outbox.db``, the lock file, ``identifiers.lock`` and learned maps.
        commit_interval_s: longest time that a reading waits in memory.
        commit_bytes: commit earlier when this much is waiting (raw, before compression).
        max_bytes: what the pages in use and SQLite's log may take on disk.
        max_age_s: rows that have been kept for so long, counted while the agent runs, are dropped; None = never.
        when_full: what gives way at ``max_bytes``.
        reserve_bytes: free space on the disk below which the log does not grow.
        memory_bytes: readings that wait in memory while the disk takes no writes.
        dead_letter_bytes: what rows that a broker refused for what they are may take; the oldest give way.
        write_budget_bytes: writing more than this in a day is warned of; None = no budget.
    """

    directory: Path
    commit_interval_s: float = 1.0
    commit_bytes: int = 256 * 1024
    max_bytes: int = 4 * 1024**3
    max_age_s: float | None = None
    when_full: WhenFull = WhenFull.DROP_OLDEST
    reserve_bytes: int = 64 * 1024**2
    memory_bytes: int = 32 * 1024**2
    write_budget_bytes: int | None = None
    dead_letter_bytes: int = 16 * 1024**2
