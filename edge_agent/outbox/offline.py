"""Changes an outbox whose agent is stopped. What only looks, ``inspect`` does."""

from collections.abc import Iterable
from pathlib import Path

from edge_agent.errors import OutboxError
from edge_agent.outbox.directory import DirectoryLock
from edge_agent.outbox.sqlite import LogFile


def change_dead_letters(path: Path, ids: Iterable[int] | None, *, put_back: bool, now_ns: int) -> int:
    """Put dead letters back into the log, or give them up; return how many there were.

    Args:
        path: of the database.
        ids: which ones; None = all.
        put_back: false = give them up.
        now_ns: for what people read.

    Raises:
        OutboxError: there is no outbox, an agent has it, or it cannot be written.
    """
    if not path.is_file():
        raise OutboxError(f"there is no outbox at {path}")
    lock = DirectoryLock(path.parent)
    try:
        file = LogFile(path, "", now_ns)
        try:
            return file.change_dead_letters(ids, put_back=put_back, now_ns=now_ns)
        finally:
            file.close()
    finally:
        lock.release()
