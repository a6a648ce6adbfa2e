"""The time that one exchange may take, not counting the wait for a turn on a shared line.

A unit that is silent holds its line for its own time-out. Its neighbours wait meanwhile, and that wait must not
count as their failure: the line pauses the deadline of whoever queues for a turn.
"""

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import Self

_current: ContextVar["Deadline | None"] = ContextVar("edge_agent_exchange_deadline", default=None)


class Deadline:
    """``async with Deadline(seconds)``: cancels its body when the time is used up.

    Raises:
        TimeoutError: on leaving, if the time was used up.
    """

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._token = _current.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        await self._timeout.__aexit__(kind, value, traceback)

    def pause(self) -> None:
        """Stop counting."""
        when_s = self._timeout.when()
        if when_s is not None:
            self._left_s = max(0.0, when_s - asyncio.get_running_loop().time())
            self._timeout.reschedule(None)

    def resume(self) -> None:
        """Go on counting with what was left."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._left_s)


def current_deadline() -> Deadline | None:
    """Return the deadline that the running code is under, if any."""
    return _current.get()
