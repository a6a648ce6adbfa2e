"""Accounting in readings, exact across restarts: what was owed to a publisher is confirmed, dropped or pending.

On the thread of the file. The numbers are written in the transaction that makes them true.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edge_agent.model import PublisherId
from edge_agent.outbox.ranges import Span

PENDING_SQL = """
    SELECT coalesce(sum(n), 0) + (SELECT coalesce(sum(n), 0) FROM dead_letter WHERE publisher = ?1)
    FROM row INDEXED BY row_by_table
    WHERE coalesce((
        SELECT last FROM acknowledged WHERE publisher = ?1 AND first <= row.id ORDER BY first DESC LIMIT 1
    ), 0) < row.id
"""
"""Pending for a publisher, dead letters included, counted: for one that comes new, and to check the books."""


@dataclass(frozen=True, slots=True)
class Account:
    """Readings of one publisher.

    Attributes:
        owed: all that were ever committed for it.
        confirmed: of these, those that it confirmed.
        dropped: of these, those that it never gets.
    """

    owed: int = 0
    confirmed: int = 0
    dropped: int = 0

    @property
    def pending(self) -> int:
        """Those that it has still to get."""
        return self.owed - self.confirmed - self.dropped


Books = Mapping[PublisherId, Account]


class Accounts:
    """The accounts of the configured publishers."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._settled: dict[PublisherId, Account] = {}
        self._books: dict[PublisherId, Account] = {}

    def open(self, publishers: Sequence[PublisherId], newly: Iterable[PublisherId]) -> None:
        """Take over the numbers in the file; of ``newly`` configured ones, count what is owed from now on.

        A publisher that was away is owed what is there now; what came and went meanwhile never was.
        """
        for publisher in publishers:
            numbers = self._sql.execute(
                "SELECT owed, confirmed, dropped FROM publisher WHERE id = ?", (publisher,)
            ).fetchone()
            self._books[publisher] = Account(*numbers)
        for publisher in newly:
            account = self._books[publisher]
            pending = self._sql.execute(PENDING_SQL, (publisher,)).fetchone()[0]
            self._books[publisher] = replace(account, owed=account.confirmed + account.dropped + pending)
        self.write()
        self.settle()

    @property
    def publishers(self) -> list[PublisherId]:
        """The configured ones."""
        return list(self._books)

    def books(self) -> Books:
        """Return the present numbers."""
        return dict(self._books)

    def owe(self, readings: int, publishers: Iterable[PublisherId] | None = None) -> None:
        """Rows with so many readings came into the log for ``publishers``; None = all."""
        for publisher in self._books if publishers is None else publishers:
            self._change(publisher, owed=readings)

    def confirm(self, publisher: PublisherId, spans: Iterable[Span]) -> None:
        """A publisher has got through rows that are still in the log."""
        for span in spans:
            readings = self._sql.execute(
                "SELECT coalesce(sum(n), 0) FROM row WHERE id BETWEEN ? AND ?", span
            ).fetchone()[0]
            self._change(publisher, confirmed=readings)

    def drop(self, readings: Mapping[PublisherId, int]) -> None:
        """Publishers never get these readings, which were owed to them."""
        for publisher, count in readings.items():
            if publisher in self._books:  # else: a dead letter of one that is configured no longer
                self._change(publisher, dropped=count)

    def drop_missing(self) -> None:
        """Rows are gone of which nobody knows how many readings they held: what is not there is dropped."""
        for publisher, account in self._books.items():
            pending = self._sql.execute(PENDING_SQL, (publisher,)).fetchone()[0]
            self._change(publisher, dropped=account.pending - pending)

    def write(self) -> None:
        """Put the numbers into the file; call ``settle`` when that is on disk, else ``fail``."""
        self._sql.executemany(
            "UPDATE publisher SET owed = ?, confirmed = ?, dropped = ? WHERE id = ?",
            [
                (account.owed, account.confirmed, account.dropped, publisher)
                for publisher, account in self._books.items()
                if self._settled.get(publisher) != account
            ],
        )

    def settle(self) -> None:
        """What was written is on disk."""
        self._settled = dict(self._books)

    def fail(self) -> None:
        """What was written is not on disk."""
        self._books = dict(self._settled)

    def _change(self, publisher: PublisherId, *, owed: int = 0, confirmed: int = 0, dropped: int = 0) -> None:
        account = self._books[publisher]
        self._books[publisher] = Account(
            account.owed + owed, account.confirmed + confirmed, account.dropped + dropped
        )
