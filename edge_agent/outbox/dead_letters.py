"""Rows that a broker refused for what they are: kept aside, so that the log moves on. On the thread of the file.

A dead letter is still owed to its publisher: it is pending until somebody lets it be sent again or gives it up, or
until it gives way to newer ones.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from edge_agent.model import DeviceId, PublisherId
from edge_agent.outbox.losses import Loss
from edge_agent.outbox.retention import Dropped
from edge_agent.outbox.rows import Gap, Reason

Letter = tuple[PublisherId, int, str]
"""Who was refused, which row, and why."""

_ROW_COLUMNS = "epoch, device, class, table_version, n, t_first, t_last, codec, crc, body, kind, anchor"
_LETTER_BYTES = 200
_ADD = f"""
    INSERT INTO dead_letter (publisher, reason, noted_ns, row_id, {_ROW_COLUMNS})
    SELECT ?, ?, ?, id, {_ROW_COLUMNS} FROM row WHERE id = ?
"""  # noqa: S608 - our own text
_PUT_BACK = f"""
    INSERT OR IGNORE INTO row (id, {_ROW_COLUMNS}) SELECT row_id, {_ROW_COLUMNS} FROM dead_letter WHERE id = ?
"""  # noqa: S608 - our own text
_ABOUT = "SELECT id, row_id, publisher, device, class, epoch, n, t_first, t_last, length(body) FROM dead_letter"


class DeadLetters:
    """The dead letters of one file; each method runs in the caller's transaction."""

    def __init__(self, sql: sqlite3.Connection, limit_bytes: int) -> None:
        self._sql = sql
        self._limit_bytes = limit_bytes

    def add(self, letters: Iterable[Letter], noted_ns: int, dropped: Dropped) -> None:
        """Copy rows out of the log; where there are too many, the oldest give way."""
        added = False
        for publisher, row_id, reason in letters:
            self._sql.execute(_ADD, (publisher, reason, noted_ns, row_id))
            added = True
        if not added:
            return
        excess_bytes = self.size_bytes() - self._limit_bytes
        for letter in self._sql.execute(f"{_ABOUT} ORDER BY id").fetchall() if excess_bytes > 0 else ():
            if excess_bytes <= 0:
                break
            self._give_up(letter, dropped)
            excess_bytes -= letter[-1] + _LETTER_BYTES

    def size_bytes(self) -> int:
        """Return what they take."""
        size = f"SELECT coalesce(sum(length(body) + {_LETTER_BYTES}), 0) FROM dead_letter"  # noqa: S608 - a number of ours
        return int(self._sql.execute(size).fetchone()[0])

    def ids(self, publisher: PublisherId | None = None) -> list[int]:
        """Return the ids of all dead letters, or of those of one publisher."""
        found = "SELECT id FROM dead_letter WHERE ? IS NULL OR publisher = ? ORDER BY id"
        return [number for (number,) in self._sql.execute(found, (publisher, publisher))]

    def give_up(self, ids: Iterable[int], dropped: Dropped) -> int:
        """Drop dead letters for good; return how many there were."""
        letters = self._find(ids)
        for letter in letters:
            self._give_up(letter, dropped)
        return len(letters)

    def put_back(self, ids: Iterable[int]) -> int:
        """Put dead letters back into the log, where their publisher alone is owed them; return how many."""
        letters = self._find(ids)
        for letter_id, row_id, publisher, *_ in letters:
            self._sql.execute(_PUT_BACK, (letter_id,))
            self._forget_acknowledged(publisher, row_id)
            self._sql.execute("DELETE FROM dead_letter WHERE id = ?", (letter_id,))
        return len(letters)

    def _find(self, ids: Iterable[int]) -> list[Sequence[Any]]:
        found = [self._sql.execute(f"{_ABOUT} WHERE id = ?", (number,)).fetchone() for number in ids]
        return [letter for letter in found if letter is not None]

    def _forget_acknowledged(self, publisher: str, row_id: int) -> None:
        about = "FROM acknowledged WHERE publisher = ? AND first <= ? AND last >= ?"
        span = self._sql.execute(f"SELECT first, last {about}", (publisher, row_id, row_id)).fetchone()
        if span is None:
            return
        self._sql.execute(f"DELETE {about}", (publisher, row_id, row_id))
        rest = [(a, b) for a, b in ((span[0], row_id - 1), (row_id + 1, span[1])) if a <= b]
        self._sql.executemany("INSERT INTO acknowledged VALUES (?, ?, ?)", [(publisher, *one) for one in rest])

    def _give_up(self, letter: Sequence[Any], dropped: Dropped) -> None:
        number, row_id, publisher, device, word, epoch, count, t_first, t_last, _ = letter
        self._sql.execute("DELETE FROM dead_letter WHERE id = ?", (number,))
        if count:
            gap = Gap(word, 1, count, t_first, t_last, Reason.REFUSED, epoch, row_id, row_id)
            dropped.add_letter(Loss(DeviceId(device), PublisherId(publisher), gap))
