"""What the outbox tells of itself: metrics, the status page, and the first of each kind of loss in the log."""

import logging
from collections.abc import Mapping, Sequence

from edge_agent.metrics import Metrics
from edge_agent.model import PublisherId
from edge_agent.outbox.accounts import Books
from edge_agent.outbox.ledger import Ledger
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.records import Written
from edge_agent.outbox.recovery import OpenedFile
from edge_agent.outbox.rows import Reason
from edge_agent.outbox.wear import Budget

_log = logging.getLogger(__name__)


class Figures:
    """Counts what commits did. On the loop.

    Attributes:
        books: the accounts of the publishers, as they are on disk.
    """

    def __init__(self, options: OutboxOptions, metrics: Metrics, now_s: float) -> None:
        self._options = options
        self._metrics = metrics
        self._budget = Budget(options.write_budget_bytes, now_s)
        self._committed = 0
        self._damaged_rows = 0
        self._lost = dict.fromkeys(Reason, 0)
        self.books: Books = {}
        self._oldest_ns: Mapping[PublisherId, int] = {}
        self._size_bytes = self._used_bytes = 0
        metrics.outbox_limit.set(options.max_bytes)
        for reason in Reason:
            metrics.lost.labels(reason.value)  # there from the start, at 0

    def configure(self, options: OutboxOptions, now_s: float) -> None:
        """Other bounds count from now on; with another budget the day begins anew."""
        if options.write_budget_bytes != self._options.write_budget_bytes:
            self._budget = Budget(options.write_budget_bytes, now_s)
        self._options = options
        self._metrics.outbox_limit.set(options.max_bytes)

    def opened(self, opened: OpenedFile) -> None:
        """A file was opened."""
        self._size_bytes, self._used_bytes, self.books = opened.size_bytes, opened.used_bytes, opened.books
        epoch = opened.file.epoch
        if opened.loaded.has_moved:
            self._metrics.new_epochs.inc()
            _log.warning(
                "the state directory comes from another machine; new readings get a new epoch",
                extra={"directory": str(self._options.directory), "epoch": epoch},
            )
        if opened.set_aside is not None:
            self._metrics.damaged_files.inc()
            _log.error(
                "the outbox is damaged; it is set aside and what can be read of it comes back in time",
                extra={"folder": str(opened.set_aside), "epoch": epoch},
            )

    def committed(self, written: Written, now_s: float) -> None:
        """A commit is on disk."""
        self._size_bytes, self._used_bytes, self.books = written.size_bytes, written.used_bytes, written.books
        new_ns = written.rows[0].t_first_ns if written.rows else 0
        self._oldest_ns = {**dict.fromkeys(self.books, new_ns), **written.oldest_ns}
        count = sum(row.count for row in written.rows)
        self._committed += count
        self._metrics.committed.inc(count)
        self._metrics.committed_rows.inc(len(written.rows))
        self._metrics.commits.inc()
        for reason, readings in written.dropped.lost.items():
            if not self._lost[reason]:
                _log.error(
                    "readings are lost; see `edge-agent outbox losses`",
                    extra={"reason": reason.value, "readings": readings},
                )
            self._lost[reason] += readings
            self._metrics.lost.labels(reason.value).inc(readings)
        self._metrics.written_bytes.inc(written.written_bytes)
        if self._budget.add(written.written_bytes, now_s):
            _log.warning(
                "more was written to the disk today than write_budget allows; flash wears by it",
                extra={"written_bytes": self._budget.written_bytes, "budget": self._options.write_budget_bytes},
            )
        self._metrics.write_budget_passed.set(self._budget.is_passed)

    def damaged(self, publisher: PublisherId, row_ids: Sequence[int]) -> None:
        """Rows that a publisher was to get cannot be read back."""
        if not self._damaged_rows:
            _log.error(
                "rows of the outbox cannot be read back and are passed over; their readings are lost",
                extra={"publisher": publisher, "row": row_ids[0], "rows": len(row_ids)},
            )
        self._damaged_rows += len(row_ids)
        self._metrics.damaged_rows.inc(len(row_ids))

    def show(self, ledger: Ledger, buffered: int) -> None:
        """Bring the gauges up to date."""
        self._metrics.buffered.set(buffered)
        self._metrics.outbox_bytes.set(self._size_bytes)
        self._metrics.outbox_used.set(self._used_bytes)
        for publisher in ledger.acknowledged:
            pending = ledger.pending(publisher)
            self._metrics.pending.labels(publisher).set(pending)
            oldest_ns = self._oldest_ns.get(publisher, 0) if pending else 0
            self._metrics.oldest_pending.labels(publisher).set(oldest_ns / 1e9)
        for publisher, account in self.books.items():
            self._metrics.owed_readings.labels(publisher).set(account.owed)
            self._metrics.confirmed_readings.labels(publisher).set(account.confirmed)
            self._metrics.dropped_readings.labels(publisher).set(account.dropped)
            self._metrics.pending_readings.labels(publisher).set(account.pending)

    def summary(self) -> dict[str, object]:
        """Return what ``/status`` shows, ready for JSON."""
        return {
            "size_bytes": self._size_bytes,
            "used_bytes": self._used_bytes,
            "max_bytes": self._options.max_bytes,
            "committed": self._committed,
            "damaged_rows": self._damaged_rows,
            "lost": {reason.value: count for reason, count in self._lost.items()},
            "accounts": {
                publisher: {
                    "committed": account.owed,
                    "confirmed": account.confirmed,
                    "dropped": account.dropped,
                    "pending": account.pending,
                }
                for publisher, account in self.books.items()
            },
            "written_today_bytes": self._budget.written_bytes,
        }
