"""The outbox as the agent sees it: append, commit in groups, begin a publisher's session.

Everything here runs on the loop; SQLite has one thread of its own, which does one thing at a time. A commit takes
what is buffered, what was acknowledged and what may be let go, and puts it into one transaction.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import OutboxCorruptError, OutboxError, OutboxFullError, OutboxReadOnlyError
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, PointTable, PublisherId, ReadingBatch
from edge_agent.outbox.accounts import Account
from edge_agent.outbox.anchors import Anchors
from edge_agent.outbox.buffer import MAX_COMMIT_BYTES, Buffer
from edge_agent.outbox.cursor import Cursor, RowCache
from edge_agent.outbox.faults import Replacements, is_final
from edge_agent.outbox.figures import Figures
from edge_agent.outbox.learned import Learned
from edge_agent.outbox.ledger import Ledger
from edge_agent.outbox.losses import Loss, Owing, lacking
from edge_agent.outbox.options import OutboxOptions, WhenFull
from edge_agent.outbox.ranges import Ranges, Span
from edge_agent.outbox.records import Read, SavedRow, Written
from edge_agent.outbox.recovery import FILE_NAME, Keeper, Known, OpenedFile
from edge_agent.outbox.retention import loss_of
from edge_agent.outbox.rows import Reason
from edge_agent.outbox.salvage import Survey
from edge_agent.outbox.salvager import Salvager
from edge_agent.outbox.upkeep import Moment
from edge_agent.outbox.waiting import end_of
from edge_agent.together import together

__all__ = ["FILE_NAME", "Cursor", "Outbox"]

_log = logging.getLogger(__name__)

BUFFER_COMMITS = 8
"""``append`` waits while readings of this many full commits are in memory."""

TRIES = 3
"""After so many failed commits the file is opened again."""

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

    def __init__(self, keeper: Keeper, thread: ThreadPoolExecutor, clock: Clock, metrics: Metrics) -> None:
        options = keeper.options
        self.epoch = ""
        self.tick_s = clock.monotonic_s()
        self._options = options
        self._keeper = keeper
        self._thread = thread
        self._clock = clock
        self._metrics = metrics
        self._ledger = Ledger(Ranges(), 0, {publisher: Ranges() for publisher in keeper.publishers})
        self._learned = Learned()
        self._anchors = Anchors()
        self._buffer = Buffer()
        self._cache = RowCache(CACHE_COMMITS * options.commit_bytes)
        self._cursors: set[Cursor] = set()
        self._committing = asyncio.Lock()
        self._due, self._room, self._mended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._figures = Figures(options, metrics, self.tick_s)
        self._kept_up_s = self.tick_s
        self._trouble: OutboxError | None = None
        self._given_up = Ranges()
        self._tries, self._is_shedding = 0, False
        self._replacements = Replacements()
        self._is_closed = False
        self._salvager = Salvager(self, options.directory, clock, metrics)
        self._figures.show(self._ledger, self._buffer.readings)

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
        on. One that is configured no longer holds no row back; its acknowledgements are kept in case it returns.
        Without any publisher all rows are kept: they are owed to the first one.

        Args:
            options: where, and how often to commit.
            publishers: the configured ones.
            clock: the agent's.
            metrics: the agent's.
            machine: name of this machine; None = ask the system.
            starts_now: publishers that, when they come new, get nothing of what is kept already.

        Raises:
            OutboxError: another process has the directory, it cannot be used, or a newer release wrote the file.

        A damaged file is set aside, and what can be read of it comes back while the agent runs. Where the disk
        takes no writes the outbox begins in memory. On cancellation nothing stays open.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        keeper = Keeper(options, publishers, machine, starts_now)
        opening = asyncio.get_running_loop().run_in_executor(thread, keeper.lock)
        cancelled = await end_of(opening)
        try:
            opening.result()
            outbox = cls(keeper, thread, clock, metrics)
            cancelled = await outbox._begin() or cancelled
        except BaseException:
            thread.submit(keeper.close)
            thread.shutdown(wait=False)
            raise
        if cancelled is not None:
            await outbox.close()
            raise cancelled
        return outbox

    async def _begin(self) -> asyncio.CancelledError | None:
        opening = self._on_thread(self._keeper.reopen, self._clock.now_ns())
        cancelled = await end_of(opening)
        try:
            self._install(opening.result())
        except (OutboxFullError, OutboxReadOnlyError) as exc:
            self._enter_trouble(exc)
        self._figures.show(self._ledger, self._buffer.readings)
        return cancelled

    async def append(self, table: PointTable, batch: ReadingBatch) -> None:
        """Put readings behind those of their device; they are durable with the next commit, alarms at once.

        Waits while too much is in memory. While the disk takes no writes it does not wait, unless the policy is
        to block; the least precious readings in memory give way then. On cancellation while it waits nothing was
        taken.

        Raises:
            ValueError: the batch is malformed or does not fit the table (a bug of the driver).
        """
        while self._is_waited_for:
            self._room.clear()
            await self._room.wait()
        anchor = self._anchors.number_of(self._clock.anchor_of(batch.time_ns))
        is_urgent = self._buffer.add(table, batch, anchor)
        if self._trouble is not None:
            self._shed()
        elif is_urgent or self._buffer.new_bytes >= self._options.commit_bytes:
            self._due.set()

    @property
    def _is_waited_for(self) -> bool:
        """Whether there is so much in memory that devices have to wait for the disk."""
        if self._trouble is not None and self._options.when_full is not WhenFull.BLOCK:
            return False
        return self._buffer.size_bytes >= BUFFER_COMMITS * self._options.commit_bytes

    async def run(self) -> None:
        """Commit at the configured interval, or earlier when there is enough or an alarm, until cancelled.

        While the disk takes no writes the readings stay in memory and the commit is tried again at the interval; a
        damaged file is set aside and a new one begun. On cancellation what is buffered is committed.

        Raises:
            OutboxIOError: the disk failed; only a new start can say what is on it.
        """
        try:
            async with together(OutboxError) as group:
                group.create_task(self._salvager.run(), name="outbox:salvage")
                while True:
                    self.tick_s = self._clock.monotonic_s()
                    await self._until_due()
                    await self._try_commit()
        except asyncio.CancelledError:
            await self._try_commit(is_last=True)
            raise

    async def flush(self) -> None:
        """Commit now; return when everything that was appended and confirmed before the call is on disk.

        Raises:
            OutboxError: it did not work; readings and acknowledgements are still in memory.

        On cancellation the commit, once begun, goes to its end.
        """
        for _ in range(1 + self._buffer.size_bytes // MAX_COMMIT_BYTES):
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
            account=lambda: self._figures.books.get(publisher, Account()),
            on_damaged=self._skip_damaged,
            on_close=self._forget,
        )
        self._cursors.add(cursor)
        return cursor

    async def reconfigure(
        self, options: OutboxOptions, publishers: Sequence[PublisherId], starts_now: Collection[PublisherId] = ()
    ) -> None:
        """Go on with other bounds or publishers, in the same directory; sessions of publishers that stay go on.

        What is not on disk yet stays in memory; so it does where the file cannot be opened now: `run` mends that.
        """
        async with self._committing:
            self._keeper.configure(options, publishers, starts_now)
            self._options, self._cache.limit_bytes = options, CACHE_COMMITS * options.commit_bytes
            self._figures.configure(options, self._clock.monotonic_s())
            self._ledger.configure(publishers)
            with suppress(OutboxError):
                await self._go_on_with(self._on_thread(self._keeper.reopen, self._clock.now_ns()))
        self._due.set()

    def learned(self, device: DeviceId) -> MutableMapping[str, str]:
        """Return what the driver learned of a device; changes are durable with the next commit."""
        return self._learned.of(device)

    def summary(self) -> dict[str, object]:
        """Return what ``/status`` shows, ready for JSON."""
        return {
            "epoch": self.epoch,
            "rows": len(self._ledger.kept),
            "buffered": self._buffer.readings,
            "trouble": str(self._trouble or ""),
            "pending": {publisher: self._ledger.pending(publisher) for publisher in self._ledger.acknowledged},
            **self._figures.summary(),
        }

    async def close(self) -> None:
        """Commit what is left, if the disk still can, and let go of the directory. Silent when called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if not is_final(self._trouble):
                await self._mend()
                await self.flush()
        except OutboxError:
            _log.exception("readings in memory are lost", extra={"readings": self._buffer.readings})
        finally:
            cancelled = await end_of(self._on_thread(self._keeper.close))
            self._thread.shutdown(wait=False)
        if cancelled is not None:
            raise cancelled

    async def _until_due(self) -> None:
        if self._trouble is not None and not is_final(self._trouble):
            self._room.set()
            await self._clock.sleep(self._options.commit_interval_s)
            return
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(self._ring(), name="outbox:timer")
            await self._due.wait()
            timer.cancel()

    async def _ring(self) -> None:
        await self._clock.sleep(self._options.commit_interval_s)
        self._due.set()

    async def _try_commit(self, *, is_last: bool = False) -> None:
        """Commit; what does not fit on the disk now stays in memory for the next time."""
        try:
            await self._mend()
            await (self.flush() if is_last else self._commit())
            if self._buffer.new_bytes >= self._options.commit_bytes:
                self._due.set()
        except OutboxError as exc:
            if is_final(exc):
                raise

    async def _mend(self) -> None:
        """Replace a damaged file; open one again that takes no writes, which may be due to how it was opened."""
        async with self._committing:
            now_ns = self._clock.now_ns()
            if isinstance(self._trouble, OutboxCorruptError):
                ledger = self._ledger
                known = Known(ledger.kept, ledger.last_id, ledger.acknowledged, ledger.told)
                mending = self._on_thread(self._keeper.replace, now_ns, str(self._trouble), known)
            elif self._keeper.file is None or (self._tries and self._tries % TRIES == 0):
                mending = self._on_thread(self._keeper.reopen, now_ns)
            else:
                return
            self._tries += 1
            await self._go_on_with(mending)

    async def _go_on_with(self, opening: "asyncio.Future[OpenedFile]") -> None:
        cancelled = await end_of(opening)
        try:
            self._install(opening.result())
        except OutboxError as exc:
            self._enter_trouble(exc)
            raise
        finally:
            if cancelled is not None:
                raise cancelled

    def _install(self, opened: OpenedFile) -> None:
        """Go on with what is in a file that was just opened, and with what is in memory."""
        loaded, self.epoch = opened.loaded, opened.file.epoch
        self._ledger.renew(loaded.kept, loaded.last_id, loaded.acknowledged, is_new=opened.set_aside is not None)
        self._figures.opened(opened)
        self._learned.renew(loaded.learned, is_new=opened.set_aside is not None)
        self._anchors.renew(loaded.anchors, is_new=opened.set_aside is not None)
        for cursor in self._cursors:
            cursor.rewind(1, max(loaded.last_id, 1))
        if opened.set_aside is not None:
            self._cache.clear()
            self._trouble = None
            self._mended.set()
            self._replacements.note(self._clock.monotonic_s())
        if opened.is_salvage_due:
            self._salvager.wake()

    def _shed(self) -> None:
        """Keep memory within its bound while the disk takes no writes."""
        shed = self._buffer.shed(self._options.memory_bytes)
        self._ledger.note_all(loss_of(row, Reason.MEMORY, self.epoch) for row in shed)
        if shed and not self._is_shedding:
            self._is_shedding = True
            readings = sum(row.count for row in shed)
            _log.error(
                "memory is full and the disk takes no writes: readings are lost", extra={"readings": readings}
            )
        self._metrics.buffered.set(self._buffer.readings)

    async def restore(self, rows: Sequence[SavedRow]) -> int:
        """Put rows of a damaged file back; return how many were not there yet.

        Raises:
            OutboxError: the disk takes none at present; nothing was restored.
        """
        async with self._committing:
            owing = self.owed()
            numbered = [(row, self._anchors.number_of(row.anchor)) for row in rows if owing(row.id)]
            if not numbered:
                return 0
            restoring = self._on_thread(self._keeper.restore, numbered, self._ledger.acknowledged)
            cancelled = await end_of(restoring)
            if restoring.exception() is None:
                restored, self._figures.books = restoring.result()
                self._ledger.take_back(restored, {})
                for cursor in self._cursors if restored else ():
                    for span in restored.common(self._given_up):
                        cursor.unlease(*span)
                    cursor.rewind(restored.spans()[0][0], restored.spans()[-1][1])
            if cancelled is not None:
                raise cancelled
            return len(restoring.result()[0])

    def take_back(self, survey: Survey) -> None:
        """Take what a damaged file says of acknowledgements, and of what drivers learned."""
        self._ledger.take_back((), survey.acknowledged)
        for anchor in survey.anchors.values():
            self._anchors.note(anchor if anchor.is_synced else None)
        self._learned.renew((DeviceId(device), key, value) for device, key, value in survey.learned)

    def owed(self) -> Owing:
        """Return what says of a row that is not here who has not got through it; as things are now."""
        return lacking(self._ledger.kept, self._ledger.acknowledged)

    def note_losses(self, losses: Iterable[Loss]) -> None:
        """Readings are lost that never came into the log, or of a damaged file; the next commit notes it."""
        self._ledger.note_all(losses)

    async def _commit(self) -> None:
        async with self._committing:
            if self._trouble is not None and is_final(self._trouble):
                raise self._trouble
            self._due.clear()
            self._anchors.note(self._clock.synced)
            now_ns, now_s = self._clock.now_ns(), self._clock.monotonic_s()
            moment = Moment(now_ns, now_s, self._is_closed, self._anchors.new())
            is_upkeep = moment.is_last or now_s - self._kept_up_s >= UPKEEP_INTERVAL_S
            rows, plan, learned = self._buffer.take(), self._ledger.plan(), self._learned.take()
            if not (rows or plan.is_something or learned or is_upkeep or self._trouble):
                return
            start_s = self._clock.monotonic_s()
            writing = self._on_thread(self._keeper.write, rows, self._ledger.last_id + 1, plan, learned, moment)
            cancelled = await end_of(writing)
            try:
                written = writing.result()
            except BaseException as exc:
                self._buffer.fail()
                self._ledger.fail()
                self._learned.fail()
                self._tries += 1
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
        if not isinstance(self._trouble, OutboxCorruptError):  # found meanwhile: `_mend` replaces the file
            self._mended.set()  # where it is full, too: what is read makes room
            if written.is_blocked:
                full = "the outbox is at its max_size; it takes more when there is room"
                self._enter_trouble(OutboxFullError(full))
            else:
                self._leave_trouble()
        for row, size_bytes in zip(written.rows, written.sizes_bytes, strict=True) if self._cursors else ():
            self._cache.add(row, size_bytes)
        (self._buffer.fail if written.is_blocked else self._buffer.settle)()
        self._ledger.settle(len(written.rows), written.pre_acknowledged, written.dropped.rows)
        self._learned.settle()
        self._anchors.settle(moment.anchors)
        self._kept_up_s = moment.monotonic_s
        self._figures.committed(written, moment.monotonic_s)
        self._figures.show(self._ledger, self._buffer.readings)
        self._room.set()
        if written.rows:
            for cursor in self._cursors:
                cursor.wake()

    def _enter_trouble(self, exc: BaseException) -> None:
        if isinstance(exc, OutboxError):
            if self._trouble is None:
                _log.error("the outbox cannot be written", extra={"error": str(exc)})
            self._trouble = exc
            self._room.set()
            self._due.set()  # `run` ends at once, or mends what is broken, whoever came across it
        self._metrics.buffered.set(self._buffer.readings)

    def _leave_trouble(self) -> None:
        if self._trouble is not None:
            _log.info("the outbox can be written again", extra={"readings": self._buffer.readings})
        self._trouble, self._tries, self._is_shedding = None, 0, False

    async def _read(self, spans: Sequence[Span], read: Read) -> Read:
        try:
            await self._on_thread(self._keeper.read, spans, read)
            if read.damaged or len(read.out_of_reach):
                await self._reconsider(read)
        except OutboxError as exc:
            self._mended.clear()
            self._enter_trouble(exc)
            if is_final(exc):
                raise
            await self._mended.wait()
            return Read(0, 0, read.historical, last_id=spans[0][0] - 1)  # look again
        return read

    async def _reconsider(self, read: Read) -> None:
        """What was not found may have given way meanwhile: a commit that has ended may not be settled yet."""
        async with self._committing:
            read.damaged = [row_id for row_id in read.damaged if row_id in self._ledger.kept]
            for first, last in read.out_of_reach.common(self._ledger.kept):
                raise OutboxCorruptError(f"rows {first} to {last} are out of reach")

    def _skip_damaged(self, publisher: PublisherId, row_ids: list[int]) -> None:
        """What cannot be read back is given up, once, for everybody: the log moves on."""
        self._figures.damaged(publisher, row_ids)
        self._ledger.give_up(row_ids)
        for row_id in row_ids:
            self._given_up.add(row_id)

    def _forget(self, cursor: Cursor) -> None:
        self._cursors.discard(cursor)
        if not self._cursors:
            self._cache.clear()

    def _on_thread(self, function: Any, *args: Any) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
