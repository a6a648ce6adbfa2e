"""A TaskGroup whose failure is one exception, for supervisors that catch it and go on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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
