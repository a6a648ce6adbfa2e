"""Waits for work on a thread so that a cancellation leaves nothing half done."""

import asyncio
from typing import Any


async def end_of(future: "asyncio.Future[Any]") -> asyncio.CancelledError | None:
    """Wait until what runs on the thread has ended, come what may; return the cancellation that came meanwhile."""
    cancelled = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as exc:
            cancelled = exc
    return cancelled
