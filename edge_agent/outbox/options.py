"""What the configuration says about the outbox."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """The durable log.

    Attributes:
        directory: state directory; holds ``outbox.db``, the lock file, ``identifiers.lock`` and learned maps.
        commit_interval_s: longest time that a reading waits in memory.
        commit_bytes: commit earlier when this much is waiting (raw, before compression).
    """

    directory: Path
    commit_interval_s: float = 1.0
    commit_bytes: int = 256 * 1024
