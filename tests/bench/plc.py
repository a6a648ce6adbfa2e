"""A Modbus TCP server for load: answers FC 3 for any unit and range from a changing pattern.

Run as ``python -m tests.bench.plc``; prints its port; ends when its standard input closes. Devices are told apart
by their loopback address (127.0.1.1, 127.0.1.2 …), so that hundreds of them have a connection each.
"""

import asyncio
import contextlib
import struct
import sys
import time

_REQUEST = struct.Struct(">HHHBBHH")


class Plc(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= _REQUEST.size:
            transaction, _, _, unit, function, address, count = _REQUEST.unpack_from(self.buffer)
            self.buffer = self.buffer[_REQUEST.size :]
            tick = int(time.monotonic() * 10)
            words = ((address + offset + tick) & 0xFFFF for offset in range(count))
            body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *words)
            self.transport.write(struct.pack(">HHH", transaction, 0, len(body)) + body)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Plc, "0.0.0.0", 0, backlog=1024)  # noqa: S104 - loopback has many addresses
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
