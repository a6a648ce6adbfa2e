"""The outbox as the agent sees it: append, commit in groups, begin a publisher's session.

Everything here runs on the loop; SQLite has one thread of its own, which does one thing at a time. A commit takes
what is buffered, what was acknowledged and what may be let go, and puts it into one transaction.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import OutboxCorruptError, OutboxError, OutboxFullError, OutboxIOError
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, PointTable, PublisherId, ReadingBatch
from edge_agent.outbox.accounts import Books
from edge_agent.outbox.anchors import Anchors
from edge_agent.outbox.buffer import Buffer
from edge_agent.outbox.cursor import Cursor, RowCache
from edge_agent.outbox.directory import DirectoryLock, machine_name
from edge_agent.outbox.learned import Learned
from edge_agent.outbox.ledger import Ledger
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.ranges import Span
from edge_agent.outbox.rows import Reason
from edge_agent.outbox.sqlite import Loaded, LogFile, Read, Written
from edge_agent.outbox.upkeep import Moment
from edge_agent.outbox.wear import Budget

__all__ = ["FILE_NAME", "Cursor", "Outbox"]

_log = logging.getLogger(__name__)

FILE_NAME = "outbox.db"
BUFFER_COMMITS = 8
"""``append`` waits while readings of this many full commits are in memory."""

CACHE_COMMITS = 4
"""Committed rows of this many full commits stay decoded in memory for live leases."""

UPKEEP_INTERVAL_S = 60.0
"""Without anything to write, a commit holds bounds and counts days this often."""


class Outbox:
    """The durable log of one gateway. Made by ``open``.

    Attributes:
        epoch: random name of the database on this machine; new rows are named by it.
        tick_s: monotonic time of the last turn of ``run``.
    """

    def __init__(
        self, options: OutboxOptions, opened: "_Opened", thread: ThreadPoolExecutor, clock: Clock, metrics: Metrics
    ) -> None:
        self.epoch = opened.file.epoch
        self.tick_s = clock.monotonic_s()
        self._options = options
        self._lock = opened.lock
        self._file = opened.file
        self._thread = thread
        self._clock = clock
        self._metrics = metrics
        self._ledger = Ledger(opened.loaded.kept, opened.loaded.last_id, opened.loaded.acknowledged)
        self._learned = Learned(opened.loaded.learned)
        self._anchors = Anchors(opened.loaded.anchors)
        self._buffer = Buffer()
        self._cache = RowCache(CACHE_COMMITS * options.commit_bytes)
        self._cursors: set[Cursor] = set()
        self._committing = asyncio.Lock()
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._size_bytes = opened.size_bytes
        self._committed = 0
        self._damaged_rows = 0
        self._lost = dict.fromkeys(Reason, 0)
        self._books: Books = opened.books
        self._used_bytes = opened.used_bytes
        self._budget = Budget(options.write_budget_bytes, self.tick_s)
        self._kept_up_s = self.tick_s
        self._trouble: OutboxError | None = None
        self._is_closed = False
        for reason in Reason:
            metrics.lost.labels(reason.value)  # there from the start, at 0
        self._show()

    @classmethod
    async def open(
        cls,
        options: OutboxOptions,
        publishers: Sequence[PublisherId],
        *,
        clock: Clock,
        metrics: Metrics,
        machine: str | None = None,
        starts_now: Collection[PublisherId] = (),
    ) -> "Outbox":
        """Open the log in ``options.directory``, made if need be, for this process alone.

        A publisher that was not configured before starts at the oldest row that is kept, or at what comes from now
        on. One that is configured no
        longer holds no row back; its acknowledgements are kept in case it returns. Without any publisher
        all rows are kept: they are owed to the first one.

        Args:
            options: where, and how often to commit.
            publishers: the configured ones.
            clock: the agent's clock.
            metrics: the agent's metrics.
            machine: name of this machine; None = ask the system.
            starts_now: publishers that, when they come new, get nothing of what is kept already.

        Raises:
            OutboxError: another process has the directory, it cannot be used, or a newer release wrote the file.
            OutboxCorruptError: the file is damaged.

        On cancellation nothing stays open.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(thread, _Opened, options, publishers, machine, clock.now_ns(), starts_now)
        cancelled = await _end_of(opening)
        try:
            outbox = cls(options, opening.result(), thread, clock, metrics)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        if opening.result().loaded.has_moved:
            metrics.new_epochs.inc()
            _log.warning(
                "the state directory comes from another machine; new readings get a new epoch",
                extra={"directory": str(options.directory), "epoch": outbox.epoch},
            )
        if cancelled is not None:
            await outbox.close()
            raise cancelled
        return outbox

    async def append(self, table: PointTable, batch: ReadingBatch) -> None:
        """Put readings behind those of their device; they are durable with the next commit, alarms at once.

        Waits while too much is in memory. On cancellation while it waits nothing was taken.

        Raises:
            ValueError: the batch is malformed or does not fit the table (a bug of the driver).
        """
        while self._buffer.size_bytes >= BUFFER_COMMITS * self._options.commit_bytes:
            self._room.clear()
            await self._room.wait()
        anchor = self._anchors.number_of(self._clock.anchor_of(batch.time_ns))
        is_urgent = self._buffer.add(table, batch, anchor)
        if is_urgent or self._buffer.new_bytes >= self._options.commit_bytes:
            self._due.set()

    async def run(self) -> None:
        """Commit at the configured interval, or earlier when there is enough or an alarm, until cancelled.

        When there is no space the readings stay in memory and the commit is tried again at the interval. On
        cancellation what is buffered is committed.

        Raises:
            OutboxIOError: the disk failed; only a new start can say what is on it.
            OutboxCorruptError: the file is damaged.
        """
        try:
            while True:
                self.tick_s = self._clock.monotonic_s()
                await self._until_due()
                await self._try_commit()
        except asyncio.CancelledError:
            await self._try_commit()
            raise

    async def flush(self) -> None:
        """Commit now; return when everything that was appended and confirmed before the call is on disk.

        Raises:
            OutboxError: it did not work; readings and acknowledgements are still in memory.

        On cancellation the commit, once begun, goes to its end.
        """
        await self._commit()

    def begin(self, publisher: PublisherId) -> Cursor:
        """Begin a session of a configured publisher: what is committed from now on is live, the rest replay.

        Raises:
            KeyError: it is not configured.
        """
        if publisher not in self._ledger.acknowledged:
            raise KeyError(publisher)
        cursor = Cursor(
            publisher,
            self._ledger,
            self._cache,
            read=self._read,
            correct=self._anchors.correct,
            on_damaged=self._skip_damaged,
            on_close=self._forget,
        )
        self._cursors.add(cursor)
        return cursor

    def learned(self, device: DeviceId) -> MutableMapping[str, str]:
        """Return what the driver learned of a device; changes are durable with the next commit."""
        return self._learned.of(device)

    def summary(self) -> dict[str, object]:
        """Return what ``/status`` shows, ready for JSON."""
        return {
            "epoch": self.epoch,
            "size_bytes": self._size_bytes,
            "rows": len(self._ledger.kept),
            "buffered": self._buffer.readings,
            "committed": self._committed,
            "damaged_rows": self._damaged_rows,
            "used_bytes": self._used_bytes,
            "max_bytes": self._options.max_bytes,
            "lost": {reason.value: count for reason, count in self._lost.items()},
            "accounts": {
                publisher: {
                    "committed": account.owed,
                    "confirmed": account.confirmed,
                    "dropped": account.dropped,
                    "pending": account.pending,
                }
                for publisher, account in self._books.items()
            },
            "written_today_bytes": self._budget.written_bytes,
            "trouble": str(self._trouble or ""),
            "pending": {publisher: self._ledger.pending(publisher) for publisher in self._ledger.acknowledged},
        }

    async def close(self) -> None:
        """Commit what is left, if the disk still can, and let go of the directory. Silent when called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._trouble is None or not _is_final(self._trouble):
                await self._commit()
        except OutboxError:
            _log.exception("readings in memory are lost", extra={"readings": self._buffer.readings})
        finally:
            cancelled = await _end_of(self._on_thread(self._file.close))
            self._thread.shutdown(wait=False)
            self._lock.release()
        if cancelled is not None:
            raise cancelled

    async def _until_due(self) -> None:
        if self._trouble is not None and not _is_final(self._trouble):
            await self._clock.sleep(self._options.commit_interval_s)
            return
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(self._ring(), name="outbox:timer")
            await self._due.wait()
            timer.cancel()

    async def _ring(self) -> None:
        await self._clock.sleep(self._options.commit_interval_s)
        self._due.set()

    async def _try_commit(self) -> None:
        """Commit; what does not fit on the disk now stays in memory for the next time."""
        try:
            await self._commit()
        except OutboxError as exc:
            if _is_final(exc):
                raise

    async def _commit(self) -> None:
        async with self._committing:
            if self._trouble is not None and _is_final(self._trouble):
                raise self._trouble
            self._due.clear()
            self._anchors.note(self._clock.synced)
            anchors = self._anchors.new()
            moment = Moment(self._clock.now_ns(), self._clock.monotonic_s(), self._is_closed, anchors)
            is_upkeep = moment.is_last or moment.monotonic_s - self._kept_up_s >= UPKEEP_INTERVAL_S
            rows, plan, learned = self._buffer.take(), self._ledger.plan(), self._learned.take()
            if not (rows or plan.is_something or learned or is_upkeep):
                return
            start_s = self._clock.monotonic_s()
            writing = self._on_thread(self._file.write, rows, self._ledger.last_id + 1, plan, learned, moment)
            cancelled = await _end_of(writing)
            try:
                written = writing.result()
            except BaseException as exc:
                self._ledger.fail()
                self._learned.fail()
                self._enter_trouble(exc)
                raise
            else:
                self._metrics.commit_seconds.observe(self._clock.monotonic_s() - start_s)
                self._settle(written, moment)
                if written.is_blocked and self._trouble is not None:
                    raise self._trouble
            finally:
                if cancelled is not None:
                    raise cancelled

    def _settle(self, written: Written, moment: Moment) -> None:
        if self._trouble is not None and not written.is_blocked:
            _log.info("the outbox can be written again", extra={"readings": self._buffer.readings})
            self._trouble = None
        if self._cursors:
            for row, size_bytes in zip(written.rows, written.sizes_bytes, strict=True):
                self._cache.add(row, size_bytes)
        count = sum(row.count for row in written.rows)
        if written.is_blocked:
            self._enter_trouble(OutboxFullError("the outbox is at its max_size; it takes more when there is room"))
        else:
            self._buffer.settle()
        self._ledger.settle(len(written.rows), written.pre_acknowledged, written.dropped.rows)
        self._learned.settle()
        self._anchors.settle(moment.anchors)
        self._size_bytes, self._used_bytes, self._books = written.size_bytes, written.used_bytes, written.books
        self._kept_up_s = moment.monotonic_s
        self._committed += count
        self._metrics.committed.inc(count)
        self._metrics.committed_rows.inc(len(written.rows))
        self._metrics.commits.inc()
        self._count_losses(written.dropped.lost)
        self._count_written(written.written_bytes, moment)
        self._show()
        self._room.set()
        if written.rows:
            for cursor in self._cursors:
                cursor.wake()

    def _count_losses(self, lost: Mapping[Reason, int]) -> None:
        for reason, count in lost.items():
            if not self._lost[reason]:
                _log.error(
                    "readings are lost; see `edge-agent outbox losses`",
                    extra={"reason": reason.value, "readings": count},
                )
            self._lost[reason] += count
            self._metrics.lost.labels(reason.value).inc(count)

    def _count_written(self, written_bytes: int, moment: Moment) -> None:
        self._metrics.written_bytes.inc(written_bytes)
        if self._budget.add(written_bytes, moment.monotonic_s):
            _log.warning(
                "more was written to the disk today than write_budget allows; flash wears by it",
                extra={"written_bytes": self._budget.written_bytes, "budget": self._options.write_budget_bytes},
            )
        self._metrics.write_budget_passed.set(self._budget.is_passed)

    def _show(self) -> None:
        self._metrics.buffered.set(self._buffer.readings)
        self._metrics.outbox_bytes.set(self._size_bytes)
        self._metrics.outbox_used.set(self._used_bytes)
        self._metrics.outbox_limit.set(self._options.max_bytes)
        for publisher in self._ledger.acknowledged:
            self._metrics.pending.labels(publisher).set(self._ledger.pending(publisher))
        for publisher, account in self._books.items():
            self._metrics.owed_readings.labels(publisher).set(account.owed)
            self._metrics.confirmed_readings.labels(publisher).set(account.confirmed)
            self._metrics.dropped_readings.labels(publisher).set(account.dropped)
            self._metrics.pending_readings.labels(publisher).set(account.pending)

    def _enter_trouble(self, exc: BaseException) -> None:
        if isinstance(exc, OutboxError):
            if self._trouble is None:
                _log.error("the outbox cannot be written", extra={"error": str(exc)})
            self._trouble = exc
            if _is_final(exc):
                self._due.set()  # `run` ends at once, whoever came across it
        self._metrics.buffered.set(self._buffer.readings)

    async def _read(self, spans: Sequence[Span], read: Read) -> Read:
        await self._on_thread(self._file.read, spans, read)
        if read.damaged:  # or given up meanwhile: a commit that has ended on its thread may not be settled yet
            async with self._committing:
                read.damaged = [row_id for row_id in read.damaged if row_id in self._ledger.kept]
        return read

    def _skip_damaged(self, publisher: PublisherId, row_ids: list[int]) -> None:
        """What cannot be read back is given up, once, for everybody: the log moves on."""
        if not self._damaged_rows:
            _log.error(
                "rows of the outbox cannot be read back and are passed over; their readings are lost",
                extra={"publisher": publisher, "row": row_ids[0], "rows": len(row_ids)},
            )
        self._damaged_rows += len(row_ids)
        self._metrics.damaged_rows.inc(len(row_ids))
        self._ledger.give_up(row_ids)

    def _forget(self, cursor: Cursor) -> None:
        self._cursors.discard(cursor)
        if not self._cursors:
            self._cache.clear()

    def _on_thread(self, function: Any, *args: Any) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


class _Opened:
    """The directory and the file, made on the thread."""

    def __init__(
        self,
        options: OutboxOptions,
        publishers: Sequence[PublisherId],
        machine: str | None,
        now_ns: int,
        starts_now: Collection[PublisherId],
    ) -> None:
        self.lock = DirectoryLock(options.directory)
        try:
            machine = machine_name() if machine is None else machine
            self.file = LogFile(options.directory / FILE_NAME, machine, now_ns, options)
            try:
                self.loaded: Loaded = self.file.load(publishers, now_ns, starts_now)
                self.size_bytes = self.file.size_bytes()
                self.used_bytes = self.file.upkeep.retention.used_bytes()
                self.books = self.file.upkeep.accounts.books()
            except BaseException:
                self.file.close()
                raise
        except BaseException:
            self.lock.release()
            raise


def _is_final(trouble: OutboxError) -> bool:
    """Whether nothing that is written from now on could be trusted."""
    return isinstance(trouble, OutboxIOError | OutboxCorruptError)


async def _end_of(future: "asyncio.Future[Any]") -> asyncio.CancelledError | None:
    """Wait until what runs on the thread has ended, come what may; return the cancellation that came meanwhile."""
    cancelled = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as exc:
            cancelled = exc
    return cancelled
