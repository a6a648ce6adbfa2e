"""Modbus TCP devices that get several requests at once, each taking that in its own way; and a long way to one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from tests.servers.modbus_server import registers_reply, reset

GATHERED_S = 0.02
"""What comes within this time is there at once for the device."""

Answers = Callable[[Sequence[bytes]], Sequence[bytes] | None]
"""Takes requests that are there at once and gives what is sent; None: a reset."""


def honest(requests: Sequence[bytes]) -> Sequence[bytes]:
    return [registers_reply(request) for request in requests]


def backwards(requests: Sequence[bytes]) -> Sequence[bytes]:
    return honest(requests)[::-1]


def first_only(requests: Sequence[bytes]) -> Sequence[bytes]:
    return honest(requests[:1])


def with_the_last_header(requests: Sequence[bytes]) -> Sequence[bytes]:
    """Return the right data, all with the header of the last request: its buffer was overwritten."""
    return [requests[-1][:2] + answer[2:] for answer in honest(requests)]


def resets(requests: Sequence[bytes]) -> Sequence[bytes] | None:
    return None if len(requests) > 1 else honest(requests)


@dataclass
class Pipelined:
    """A running device.

    Attributes:
        most: requests that were there at once, at most.
    """

    port: int = 0
    most: int = 0
    connections: int = 0


@asynccontextmanager
async def pipelined(answers: Answers) -> AsyncIterator[Pipelined]:
    """Serve on a free port; each register holds its own address."""
    device = Pipelined()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        device.connections += 1
        while data := await reader.read(2**16):
            while True:
                try:
                    async with asyncio.timeout(GATHERED_S):
                        more = await reader.read(2**16)
                except TimeoutError:
                    break
                if not more:
                    break
                data += more
            requests = [data[begin : begin + 12] for begin in range(0, len(data), 12)]
            device.most = max(device.most, len(requests))
            sent = answers(requests)
            if sent is None:
                reset(writer)
                return
            writer.write(b"".join(sent))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    device.port = server.sockets[0].getsockname()[1]
    try:
        yield device
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()
        await asyncio.sleep(0)


class _End(asyncio.Protocol):
    """One end of a connection that takes a while to the other end."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._early: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.writelines(self._early)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        assert self._transport is not None
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # the way adds its time and nothing else
        asyncio.get_running_loop().call_later(self._delay_s, self.other.send, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other._transport is not None:
            self.other._transport.close()

    def send(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)


@asynccontextmanager
async def long_way(port: int, round_trip_s: float) -> AsyncIterator[int]:
    """Yield the port of a way to ``port`` on which a round trip takes that long, however much is under way."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:

        def near() -> _End:
            near, far = _End(round_trip_s / 2), _End(round_trip_s / 2)
            near.other, far.other = far, near
            group.create_task(loop.create_connection(lambda: far, "127.0.0.1", port))
            return near

        server = await loop.create_server(near, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
