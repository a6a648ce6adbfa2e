"""Tasks of a group: what ends one ends the group, and none ends without a word."""

import asyncio

import pytest

from edge_agent.errors import DriverError, ExchangeError
from edge_agent.together import together


async def fail(exc: BaseException) -> None:
    await asyncio.sleep(0)
    raise exc


async def test_what_is_not_usual_is_raised_first() -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - the group ends with it
        async with together(DriverError) as group:
            group.create_task(fail(ExchangeError("no")))
            group.create_task(fail(KeyError("a bug")))
            await asyncio.Event().wait()


async def test_a_task_that_ends_cancelled_though_nobody_cancelled_it_ends_the_group() -> None:
    with pytest.raises(RuntimeError, match="a cancellation that nobody asked for"):  # noqa: PT012 - the same
        async with together(DriverError) as group:
            group.create_task(fail(asyncio.CancelledError()))
            await asyncio.Event().wait()


async def test_a_task_that_is_cancelled_on_purpose_ends_alone() -> None:
    async with together(DriverError) as group:
        task = group.create_task(asyncio.sleep(60), name="sleeper")
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    assert task.get_name() == "sleeper"


async def test_a_task_that_never_began_leaves_nothing_behind() -> None:
    work = fail(KeyError("it began"))
    async with together(DriverError) as group:
        group.create_task(work).cancel()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await work
