"""Lines: transports that several devices share, one exchange at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

from edge_agent.collect.deadline import current_deadline
from edge_agent.driver import Line

T = TypeVar("T")


class SharedLine(Generic[T]):
    """One line; see ``edge_agent.driver.Line`` for what each method promises."""

    def __init__(self, open_transport: Callable[[], Awaitable[T]], close: Callable[[T], None]) -> None:
        self._open_transport = open_transport
        self._close = close
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()  # wakes its waiters first come, first served
        self._transport: T | None = None
        self._users = 0

    async def attach(self) -> T:
        async with self._opening:
            if self._transport is None:
                self._transport = await self._open_transport()
                self._users = 0
            self._users += 1
            return self._transport

    def detach(self, transport: T) -> None:
        if transport is not self._transport:
            return
        self._users -= 1
        if self._users == 0:
            self.drop(transport)

    def turn(self) -> AbstractAsyncContextManager[None]:
        return self._take_turn()

    @asynccontextmanager
    async def _take_turn(self) -> AsyncIterator[None]:
        deadline = current_deadline()
        if deadline is None:
            await self._turn.acquire()
        else:  # also when nobody holds the line: it may have been promised to one who waits
            deadline.pause()
            await self._turn.acquire()
            deadline.resume()
        try:
            yield
        finally:
            self._turn.release()

    def drop(self, transport: T) -> None:
        if transport is self._transport:
            self._transport = None
        self._close(transport)


class Lines:
    """The lines of one agent, by key."""

    def __init__(self) -> None:
        self._lines: dict[str, SharedLine[Any]] = {}

    def line(self, key: str, open_transport: Callable[[], Awaitable[T]], close: Callable[[T], None]) -> Line[T]:
        """Return the line of this key, made at the first call; later openers for the same key are not used."""
        if key not in self._lines:
            self._lines[key] = SharedLine(open_transport, close)
        return self._lines[key]

    def get(self, key: str) -> Line[Any] | None:
        """Return the line of this key, None if nobody asked for it."""
        return self._lines.get(key)
