"""Time-outs round asyncua: an answer that comes in the moment in which the time is up."""

import asyncio
from pathlib import Path

import pytest

import edge_agent_opcua
from edge_agent_opcua.translation import in_time


class CrossedError(asyncio.CancelledError):
    """As the library raises on Python 3.11, where a cancellation crosses an answer."""


async def answered_while_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise CrossedError from None


async def test_it_is_a_time_out_and_no_end_of_the_task() -> None:
    with pytest.raises(TimeoutError):
        async with in_time(0):
            await answered_while_cancelled()


async def test_a_cancellation_stays_one() -> None:
    async def cancelled() -> None:
        async with in_time(60):
            await answered_while_cancelled()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(cancelled())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


def test_the_driver_has_no_other_time_outs() -> None:
    """One round the library that is not ``in_time`` looks right and ends a task now and then."""
    folder = Path(edge_agent_opcua.__file__).parent
    found = [file.name for file in folder.glob("*.py") if "asyncio.timeout(" in file.read_text()]
    assert found == ["translation.py"]
