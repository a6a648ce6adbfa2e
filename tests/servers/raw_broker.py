"""An MQTT broker that misbehaves as told, byte by byte, on asyncio: for what no real broker does on demand."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 12, 13, 14
RECEIVE_MAXIMUM, MAXIMUM_PACKET_SIZE, RETAIN_AVAILABLE, MAXIMUM_QOS = 0x21, 0x27, 0x25, 0x24


@dataclass(slots=True)
class Published:
    """One PUBLISH that came."""

    topic: str
    payload: bytes
    retain: bool
    packet_id: int


@dataclass(slots=True)
class Behaviour:
    """What the broker does; may be changed while it runs.

    Attributes:
        version: 4 or 5, as the client speaks.
        connack: reason code of CONNACK; None = CONNECT is never answered.
        properties: of CONNACK, as bytes (MQTT 5).
        puback: gives the reason code for a message; None = it is never acknowledged.
        closes_after_connect: the connection is closed once CONNECT was read.
        answers_ping: false = PINGREQ is not answered, as behind a half-open connection.
    """

    version: int = 5
    connack: int | None = 0
    properties: bytes = b""
    puback: Callable[[Published], int | None] = lambda _published: 0
    closes_after_connect: bool = False
    answers_ping: bool = True


@dataclass(slots=True)
class RawBroker:
    """A running broker and what it saw."""

    behaviour: Behaviour
    port: int = 0
    published: list[Published] = field(default_factory=list)
    unacknowledged: list[Published] = field(default_factory=list)
    most_unacknowledged: int = 0
    connects: int = 0
    disconnects: int = 0
    pings: int = 0
    open_connections: int = 0
    _writers: "set[asyncio.StreamWriter]" = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client until it goes."""
        self.open_connections += 1
        self._writers.add(writer)
        try:
            while await self._handle(await reader.readexactly(1), reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_connections -= 1
            self._writers.discard(writer)
            writer.close()

    def drop(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def send(self, data: bytes) -> None:
        """Send bytes to every client."""
        for writer in self._writers:
            writer.write(data)

    def acknowledge(self, published: Published, reason: int = 0) -> None:
        """Send the PUBACK for a message that was left unanswered."""
        self.unacknowledged.remove(published)
        body = struct.pack("!H", published.packet_id)
        if self.behaviour.version == 5 and reason:
            body += bytes([reason])
        self.send(bytes([PUBACK << 4, len(body)]) + body)

    async def _handle(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        kind = first[0] >> 4
        body = await reader.readexactly(await _remaining_length(reader))
        behaviour = self.behaviour
        if kind == CONNECT:
            self.connects += 1
            if behaviour.closes_after_connect:
                return False
            if behaviour.connack is not None:
                writer.write(_connack(behaviour))
            return behaviour.connack in {0, None}
        if kind == PUBLISH:
            self._take(first[0], body)
        elif kind == PINGREQ:
            self.pings += 1
            if behaviour.answers_ping:
                writer.write(bytes([PINGRESP << 4, 0]))
        elif kind == DISCONNECT:
            self.disconnects += 1
            return False
        return True

    def _take(self, flags: int, body: bytes) -> None:
        size = struct.unpack_from("!H", body)[0]
        topic = body[2 : 2 + size].decode()
        packet_id = struct.unpack_from("!H", body, 2 + size)[0]
        payload = body[4 + size + (1 if self.behaviour.version == 5 else 0) :]
        published = Published(topic, payload, bool(flags & 1), packet_id)
        self.published.append(published)
        self.unacknowledged.append(published)
        self.most_unacknowledged = max(self.most_unacknowledged, len(self.unacknowledged))
        reason = self.behaviour.puback(published)
        if reason is not None:
            self.acknowledge(published, reason)


@contextlib.asynccontextmanager
async def raw_broker(behaviour: Behaviour | None = None) -> AsyncIterator[RawBroker]:
    """Run one on a free loopback port."""
    broker = RawBroker(behaviour or Behaviour())
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        broker.drop()
        await server.wait_closed()


def _connack(behaviour: Behaviour) -> bytes:
    body = bytes([0, behaviour.connack or 0])
    if behaviour.version == 5:
        body += bytes([len(behaviour.properties)]) + behaviour.properties
    return bytes([CONNACK << 4, len(body)]) + body


async def _remaining_length(reader: asyncio.StreamReader) -> int:
    length, shift = 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return length
