"""For supervisors that catch and go on: a TaskGroup that fails with one exception, a real cancellation."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


class Together:
    """The tasks of one group. None of them ends without a word: see ``only_cancelled_when_asked``."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def create_task(self, work: Coroutine[Any, Any, Result], *, name: str | None = None) -> asyncio.Task[Result]:
        """Begin ``work``; what ends it ends the group, unless it returns or its task is cancelled."""
        task = self._group.create_task(_told(work), name=name)
        task.add_done_callback(lambda _: work.close())  # of one that is cancelled before its first step
        return task


@asynccontextmanager
async def together(usual: type[Exception]) -> AsyncIterator[Together]:
    """Run tasks beside the block; raise what ended them, something that is not ``usual`` first.

    The block must not end while tasks run: before Python 3.13 a TaskGroup that fails while it waits for its tasks
    counts one cancellation too many, and one that is failing anyway loses a cancellation that comes meanwhile. A
    supervisor that caught the group would then never stop. Here the cancellation wins.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for the type checker
    cancellations = task.cancelling()
    try:
        async with asyncio.TaskGroup() as group:
            yield Together(group)
    except BaseExceptionGroup as failures:
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError from failures
        raise min(_leaves(failures), key=lambda exc: isinstance(exc, usual)) from None


async def _told(work: Coroutine[Any, Any, Result]) -> Result:
    with only_cancelled_when_asked():
        return await work


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for exc in group.exceptions:
        leaves += _leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return leaves


@contextmanager
def only_cancelled_when_asked() -> Iterator[None]:
    """Make a cancellation that comes out by itself, of a driver or a library, the bug that it is.

    A task that ends so ends without a word: its device is never collected again, or listened to no more.
    """
    try:
        yield
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("a cancellation that nobody asked for came out") from exc
