"""Turns SQLite's errors into ours: each class says what the outbox does about it.

What a write could not do is tried again: the transaction did not happen, and memory still has it. A failed sync is
final, because Linux takes the pages for clean and later syncs report nothing (fsync(2), "Errors"); so is a read
that failed, because only a new start can say what the disk still holds.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import (
    OutboxCorruptError,
    OutboxError,
    OutboxFullError,
    OutboxIOError,
    OutboxReadOnlyError,
)

MAX_REPLACEMENTS = 3
REPLACEMENTS_S = 600.0
"""More damaged files than that in this time are no accident."""

_DAMAGED = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_IOERR_DATA}
"""The file is shorter than it says, or its file system or its checksums say that it is damaged."""

_FINAL = {
    sqlite3.SQLITE_IOERR,  # does not say what failed
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_FSTAT,
    sqlite3.SQLITE_IOERR_MMAP,
}

_BY_KIND: dict[int, type[OutboxError]] = {
    sqlite3.SQLITE_FULL: OutboxFullError,
    sqlite3.SQLITE_CORRUPT: OutboxCorruptError,
    sqlite3.SQLITE_NOTADB: OutboxCorruptError,
    sqlite3.SQLITE_ERROR: OutboxCorruptError,  # our SQL is sound, so a table or a function of it is not there
    sqlite3.SQLITE_CONSTRAINT: OutboxCorruptError,  # an id or a value that cannot be there, is
    sqlite3.SQLITE_MISMATCH: OutboxCorruptError,
    sqlite3.SQLITE_TOOBIG: OutboxCorruptError,
    sqlite3.SQLITE_READONLY: OutboxReadOnlyError,
    sqlite3.SQLITE_CANTOPEN: OutboxReadOnlyError,
    sqlite3.SQLITE_PERM: OutboxReadOnlyError,
    sqlite3.SQLITE_IOERR: OutboxReadOnlyError,
}

_NOT_TEXT = sqlite3.SQLITE_MISMATCH
"""What the module sqlite3 raises of its own, without a code: a text that is no UTF-8."""

_ADVICE: dict[type[OutboxError], str] = {
    OutboxFullError: "; no space left, free some on the disk",
    OutboxReadOnlyError: "; check the disk and the permissions",
    OutboxIOError: "; check the disk",
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into ours."""
    try:
        yield
    except sqlite3.Error as exc:
        kind = _kind(getattr(exc, "sqlite_errorcode", _NOT_TEXT))
        raise kind(f"{path}: {exc}{_ADVICE.get(kind, '')}") from exc
    except UnicodeDecodeError as exc:  # from the module sqlite3: SQLite's own message quotes garbled SQL
        raise OutboxCorruptError(f"{path}: its schema is no text") from exc


def _kind(code: int) -> type[OutboxError]:
    if code in _DAMAGED:
        return OutboxCorruptError
    return OutboxIOError if code in _FINAL else _BY_KIND.get(code & 0xFF, OutboxError)


def is_final(trouble: OutboxError | None) -> bool:
    """Whether nothing that is written from now on could be trusted."""
    return isinstance(trouble, OutboxIOError)


class Replacements:
    """How often a damaged file was replaced lately."""

    def __init__(self) -> None:
        self._when_s: list[float] = []

    def note(self, now_s: float) -> None:
        """It was replaced now.

        Raises:
            OutboxIOError: too often for an accident: the disk or the memory of the machine fails.
        """
        self._when_s = [then_s for then_s in self._when_s if now_s - then_s < REPLACEMENTS_S] + [now_s]
        if len(self._when_s) > MAX_REPLACEMENTS:
            raise OutboxIOError(
                "the outbox is damaged again and again; check the disk and the memory of the machine"
            )
