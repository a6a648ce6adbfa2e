"""For supervisors that catch and go on: a TaskGroup that fails with one exception, a real cancellation."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


@asynccontextmanager
async def together(usual: type[Exception]) -> AsyncIterator[asyncio.TaskGroup]:
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
            yield group
    except BaseExceptionGroup as failures:
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError from failures
        raise min(_leaves(failures), key=lambda exc: isinstance(exc, usual)) from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for exc in group.exceptions:
        leaves += _leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return leaves


@contextmanager
def only_cancelled_when_asked() -> Iterator[None]:
    """Make a cancellation that a driver lets out by itself the bug that it is.

    A task that ends so ends without a word, and its device is never collected again.
    """
    try:
        yield
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("a cancellation that nobody asked for came out of the driver") from exc
