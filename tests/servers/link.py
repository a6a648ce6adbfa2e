"""A link to a broker that goes bad as told: a TCP proxy on a thread, beside the processes under test."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_CHUNK = 1024
_TURN_S = 0.02


class Link(Enum):
    """What happens to connections."""

    GOOD = "good"
    HALF_OPEN = "half-open"  # accepted, and nothing comes or goes any more
    SLOW = "slow"  # 1 KB/s towards the broker
    CLOSING = "closing"  # closed as soon as the client has spoken


@dataclass(slots=True)
class Proxy:
    """A running proxy; ``link`` may be set at any time and holds for connections that are open."""

    port: int = 0
    link: Link = Link.GOOD
    accepted: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        """Carry one connection until an end of it closes."""
        self.accepted += 1
        out: asyncio.StreamWriter | None = None
        with contextlib.suppress(ConnectionError, OSError, asyncio.CancelledError, ExceptionGroup):
            back, out = await asyncio.open_connection("127.0.0.1", target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, out, is_up=True))
                group.create_task(self._carry(back, writer, is_up=False))
        for end in (writer, out):
            if end is not None:
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool) -> None:
        while True:
            await self._until_open()
            size = _CHUNK if self.link is Link.SLOW else 2**16
            data = await reader.read(size)
            await self._until_open()
            if not data or (is_up and self.link is Link.CLOSING):
                raise ConnectionResetError
            if is_up and self.link is Link.SLOW:
                await asyncio.sleep(len(data) / 1024)
            writer.write(data)
            await writer.drain()

    async def _until_open(self) -> None:
        while self.link is Link.HALF_OPEN:  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(_TURN_S)


@contextlib.contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """Carry connections to a port of this machine until the block ends."""
    state, is_ready, over = Proxy(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        server = await asyncio.start_server(lambda r, w: state.serve(r, w, target), "127.0.0.1", 0, limit=2**14)
        state.port = server.sockets[0].getsockname()[1]
        is_ready.set()
        await over.wait()
        server.close()

    def main() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=main, name="proxy")
    thread.start()
    try:
        assert is_ready.wait(10)
        yield state
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
