"""The only module that asks the operating system for the time.

Data time is UTC in nanoseconds since 1970; control time is monotonic seconds. The two never mix.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of the agent knows of time."""

    def now_ns(self) -> int:
        """Data time: UTC nanoseconds since 1970-01-01. May step."""
        ...

    def monotonic_s(self) -> float:
        """Control time: seconds since an arbitrary start. Never steps, never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for control time to pass; zero or less yields once. Cancellation leaves nothing behind."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
