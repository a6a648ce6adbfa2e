"""Lines: transports that several devices share, one exchange at a time unless a driver says otherwise."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

from edge_agent.collect.deadline import current_deadline
from edge_agent.collect.station import Station
from edge_agent.driver import Line
from edge_agent.model import DeviceId

T = TypeVar("T")

_log = logging.getLogger(__name__)


class SharedLine(Generic[T]):
    """One line; see ``edge_agent.driver.Line`` for what each method promises."""

    def __init__(self, key: str, open_transport: Callable[[], Awaitable[T]], close: Callable[[T], None]) -> None:
        self._key = key
        self._open_transport = open_transport
        self._close = close
        self._opening = asyncio.Lock()
        self._places = 1
        self._reason = ""
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()
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
        if self._taken < self._places and not self._queue:
            self._taken += 1
        elif (deadline := current_deadline()) is None:
            await self._wait()
        else:
            deadline.pause()
            await self._wait()
            deadline.resume()
        try:
            yield
        finally:
            self._taken -= 1
            self._hand_on()

    def limit(self, places: int, reason: str = "") -> None:
        if reason and reason != self._reason:
            _log.warning("fewer exchanges at once", extra={"line": self._key, "reason": reason})
        self._reason = reason
        if places != self._places:
            self._places = places
            self._hand_on()

    async def _wait(self) -> None:
        """Wait until a place is handed on to us, first come, first served."""
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it came just now
                self._taken -= 1
                self._hand_on()
            elif place in self._queue:
                self._queue.remove(place)
            raise

    def _hand_on(self) -> None:
        while self._queue and self._taken < self._places:
            place = self._queue.popleft()
            if place.cancelled():
                continue
            self._taken += 1
            place.set_result(None)

    def drop(self, transport: T) -> None:
        if transport is self._transport:
            self._transport = None
        self._close(transport)


class Lines:
    """The lines of one agent, by key."""

    def __init__(self) -> None:
        self._lines: dict[str, SharedLine[Any]] = {}
        self._stations: dict[tuple[str, str], Station] = {}

    def line(self, key: str, open_transport: Callable[[], Awaitable[T]], close: Callable[[T], None]) -> Line[T]:
        """Return the line of this key, made at the first call; later openers for the same key are not used."""
        if key not in self._lines:
            self._lines[key] = SharedLine(key, open_transport, close)
        return self._lines[key]

    def station(self, key: str, name: str) -> Station:
        """Return the station of this name on the line of this key, made at the first call."""
        return self._stations.setdefault((key, name), Station())

    def release(self, device: DeviceId, unused: Iterable[str]) -> None:
        """Let ``device`` go: its stations forget it, and lines that nobody uses any more are made anew.

        Args:
            device: has closed its sessions.
            unused: keys of the lines that it was the last one to use.
        """
        for station in self._stations.values():
            station.remove(device)
        gone = set(unused)
        for key in gone:
            self._lines.pop(key, None)
        self._stations = {place: station for place, station in self._stations.items() if place[0] not in gone}

    def get(self, key: str) -> Line[Any] | None:
        """Return the line of this key, None if nobody asked for it."""
        return self._lines.get(key)
