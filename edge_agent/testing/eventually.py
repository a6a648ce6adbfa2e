"""Wait for a condition instead of sleeping for one."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], *, within_s: float = 30.0, what: str = "") -> None:
    """Return as soon as ``condition()`` is true.

    Raises:
        AssertionError: it did not become true in time.
    """
    loop = asyncio.get_running_loop()
    end_s = loop.time() + within_s
    while not condition():
        if loop.time() > end_s:
            raise AssertionError(f"did not happen within {within_s} s: {what or condition}")
        await asyncio.sleep(0.01)
