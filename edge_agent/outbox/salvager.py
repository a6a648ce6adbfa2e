"""Salvages, beside everything else, what was set aside: the supervisor of ``Salvage``."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Protocol, Self, TypeVar

from edge_agent.clock import Clock
from edge_agent.errors import OutboxError, OutboxIOError
from edge_agent.metrics import Metrics
from edge_agent.outbox.losses import Loss, Owing
from edge_agent.outbox.records import SavedRow
from edge_agent.outbox.recovery import waiting
from edge_agent.outbox.salvage import Salvage, Survey
from edge_agent.outbox.waiting import end_of

_log = logging.getLogger(__name__)

RETRY_S = 5.0
"""Pause while the disk takes no rows back."""

_T = TypeVar("_T")


class Store(Protocol):
    """Where what is saved goes."""

    async def restore(self, rows: Sequence[SavedRow]) -> int:
        """Put rows back; return how many were not there yet."""
        ...

    def take_back(self, survey: Survey) -> None:
        """Take what the file says of acknowledgements, and of what drivers learned."""
        ...

    def owed(self) -> Owing:
        """Return what says of a row that is not here who has not got through it; as things are now."""
        ...

    def note_losses(self, losses: Iterable[Loss]) -> None:
        """Take note of what cannot be saved."""
        ...

    async def flush(self) -> None:
        """Put what was noted on disk."""
        ...


class Salvager:
    """Works through the folders that wait, one after the other, at no more than half of one core's time."""

    def __init__(self, store: Store, directory: Path, clock: Clock, metrics: Metrics) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._metrics = metrics
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is something to salvage."""
        self._metrics.salvage_progress.set(0)
        self._news.set()

    async def run(self) -> None:
        """Salvage until cancelled. A cancellation leaves a folder to be salvaged again from its beginning."""
        failed: set[Path] = set()
        while True:
            await self._news.wait()
            self._news.clear()
            for folder in await asyncio.to_thread(waiting, self._directory):
                if folder in failed:
                    continue
                try:
                    await self._salvage(folder)
                except OutboxIOError:
                    raise
                except Exception:  # noqa: BLE001 - a supervisor: damage of a kind that nobody has thought of
                    failed.add(folder)
                    _log.exception(
                        "a damaged outbox cannot be salvaged; it is kept", extra={"folder": str(folder)}
                    )
            self._metrics.salvage_progress.set(1)

    async def _salvage(self, folder: Path) -> None:
        with _Thread() as thread:
            salvage = await end_of_step(thread.submit(Salvage, folder))
            async for _ in self._paced(thread, salvage, salvage.look()):
                pass
            self._store.take_back(salvage.survey)
            saved, lost_rows, lost_readings = 0, 0, 0
            async for piece in self._paced(thread, salvage, salvage.pieces()):
                saved += await self._restored(piece)
            losses = salvage.losses(self._store.owed(), self._clock.now_ns())
            async for loss in self._paced(thread, salvage, losses):
                if loss is not None:
                    self._store.note_losses([loss])
                    lost_rows += loss.gap.rows
                    lost_readings += loss.gap.readings
            await self._flushed()
            self._metrics.unsalvaged_rows.inc(lost_rows)
            report = {"saved_rows": saved, "lost_rows": lost_rows, "lost_readings": lost_readings}
            _log.warning("a damaged outbox is salvaged", extra={"folder": str(folder), **report})
            await end_of_step(thread.submit(salvage.finish, report))

    async def _paced(self, thread: "_Thread", salvage: Salvage, steps: Iterator[_T]) -> AsyncIterator[_T]:
        """Yield what the steps give, and rest after each one for as long as it took."""
        while True:
            began_s = self._clock.monotonic_s()
            step = await end_of_step(thread.submit(lambda: list(islice(steps, 1))))
            if not step:
                return
            yield step[0]
            self._metrics.salvage_progress.set(min(salvage.progress, 0.99))
            await self._clock.sleep(self._clock.monotonic_s() - began_s)

    async def _restored(self, piece: list[SavedRow]) -> int:
        while piece:
            try:
                count = await self._store.restore(piece)
            except OutboxIOError:
                raise
            except OutboxError:
                await self._clock.sleep(RETRY_S)
            else:
                self._metrics.salvaged_rows.inc(count)
                return count
        return 0

    async def _flushed(self) -> None:
        while True:
            try:
                return await self._store.flush()
            except OutboxIOError:
                raise
            except OutboxError:
                await self._clock.sleep(RETRY_S)


class _Thread:
    """A thread for as long as a folder is salvaged."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="salvage")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._pool.shutdown(wait=False)

    def submit(self, function: Callable[..., _T], *args: object) -> "asyncio.Future[_T]":
        return asyncio.get_running_loop().run_in_executor(self._pool, function, *args)


async def end_of_step(step: "asyncio.Future[_T]") -> _T:
    """Return what a step gives; a cancellation waits for its end."""
    cancelled = await end_of(step)
    if cancelled is not None:
        raise cancelled
    return step.result()
