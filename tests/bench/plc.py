"""A Modbus TCP server for load: answers FC 3 for any unit and range from a changing pattern.

Run as ``python -m tests.bench.plc``; prints its port; ends when its standard input closes. Devices are told apart
by their loopback address (127.0.1.1, 127.0.1.2 …), so that hundreds of them have a connection each.
"""

import asyncio
import contextlib
import struct
import sys
import time
from typing import cast

import uvloop

_REQUEST = struct.Struct(">HHHBBHH")
_HEAD = struct.Struct(">HHHBBB")
_WORDS = struct.pack(">65536H", *range(65536)) * 2


class Plc(asyncio.Protocol):
    """One connection. Each register counts upwards ten times a second, from its address on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        answers = []
        while len(self.buffer) >= _REQUEST.size:
            transaction, _, _, unit, function, address, count = _REQUEST.unpack_from(self.buffer)
            self.buffer = self.buffer[_REQUEST.size :]
            first = 2 * ((address + int(time.monotonic() * 10)) & 0xFFFF)
            answers.append(_HEAD.pack(transaction, 0, 3 + 2 * count, unit, function, 2 * count))
            answers.append(_WORDS[first : first + 2 * count])
        self.transport.write(b"".join(answers))


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Plc, "0.0.0.0", 0, backlog=1024)  # noqa: S104 - loopback has many addresses
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
