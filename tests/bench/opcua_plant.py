"""An OPC UA server for load: asyncua's, which answers large reads and reports changes from prepared bytes.

Run as ``python -m tests.bench.opcua_plant COUNT LAG_US``; prints its port; ends when its standard input closes.
Channel, session, subscription and items are the library's, with real nodes; a server that keeps 5,000 values,
compares and encodes them ten times a second would need more than the core that it has here. What replaces that: at
each publishing interval every item has a new value and a new time, in one notification, as soon as a publish
request is there for it; a read of more than ``FEW`` nodes gives as many new values. Values are Double, with source
and server time and, being Good, without a status, as servers on the .NET stack send them; the server time is up to
``LAG_US`` later, the same for what is sent together.
"""

import asyncio
import contextlib
import logging
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop
from asyncua import ua
from asyncua.server import binary_server_asyncio, subscription_service
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.uaprocessor import UaProcessor

from edge_agent_opcua.binary import Reader
from tests.servers.opcua.open_asyncua import open_asyncua

LAG_US = int(sys.argv[2]) if __name__ == "__main__" else 0
FEW = 50  # nodes that the library reads itself
PHASES = 16  # different values of each variable
QUEUE = 2  # notifications that are kept while no publish request is there
_EPOCH_TICKS = 116_444_736_000_000_000  # 1970 in ticks since 1601


class Values:
    """DataValues for ``handles``, or for as many nodes: encoded once, then only values and times change."""

    def __init__(self, count: int, handles: Sequence[int] | None = None) -> None:
        head = struct.pack("<BBdqq", 0x0D, ua.VariantType.Double.value, 0.0, 0, 0)
        items = [head] * count if handles is None else [struct.pack("<I", one) + head for one in handles]
        self._bytes = bytearray(b"".join(items))
        self._count = count
        self._size = len(self._bytes) // max(1, count)
        self._value_at = self._size - 24
        numbers = range(count)
        packed = [struct.pack(f"<{count}d", *(phase + i / 10_000 for i in numbers)) for phase in range(PHASES)]
        self._columns = [[one[place::8] for place in range(8)] for one in packed]
        self._phase = 0

    def next(self) -> bytes:
        """Return new values, taken now."""
        ticks = time.time_ns() // 100 + _EPOCH_TICKS
        self._phase = (self._phase + 1) % PHASES
        source, server = (struct.pack("<q", ticks - lag) for lag in (10 * LAG_US * self._phase // PHASES, 0))
        for place in range(8):
            self._bytes[self._value_at + place :: self._size] = self._columns[self._phase][place]
            for time_at, moment in ((self._value_at + 8, source), (self._value_at + 16, server)):
                self._bytes[time_at + place :: self._size] = moment[place : place + 1] * self._count
        return bytes(self._bytes)


class Subscription(InternalSubscription):  # type: ignore[misc]
    """Reports all of its items at each interval."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._values = Values(0)
        self._known = self._sequence = 0
        self._owed = 0

    async def publish_results(self, requestdata: Any = None) -> bool:
        items = list(self.monitored_item_srv._monitored_items.values())
        if len(items) != self._known:
            self._known = len(items)
            self._values = Values(self._known, [one.client_handle for one in items])
        if requestdata is None:
            self._owed = min(QUEUE, self._owed + 1)
        is_sent = False
        while items and self._owed:
            requestdata = requestdata or self.pub_request_callback(self.data.SubscriptionId)
            if requestdata is None:
                break
            self._owed -= 1
            await self.pub_result_callback(self._notification(), requestdata)
            requestdata, is_sent = None, True
        return is_sent

    def _notification(self) -> bytes:
        """Return the parameters of a PublishResponse."""
        body = struct.pack("<i", self._known) + self._values.next() + struct.pack("<i", -1)
        self._sequence += 1
        return b"".join(
            [
                struct.pack("<IiBIq", self.data.SubscriptionId, 0, 0, self._sequence, 0),
                struct.pack("<iBBHBi", 1, 1, 0, 811, 1, len(body)),  # one DataChangeNotification
                body,
                struct.pack("<ii", 0, 0),
            ]
        )


class Processor(UaProcessor):  # type: ignore[misc]
    """One connection."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._reads: dict[int, Values] = {}

    async def forward_publish_response(self, result: bytes, requestdata: Any) -> None:
        kind, handle = ua.ObjectIds.PublishResponse_Encoding_DefaultBinary, requestdata.requesthdr.RequestHandle
        self._answer(kind, handle, requestdata.seqhdr, result)

    async def process_message(self, seqhdr: Any, body: Any) -> Any:
        handle, count = _many(body.copy().read(len(body)))
        if not count:
            return await super().process_message(seqhdr, body)
        values = self._reads.setdefault(count, Values(count))
        answer = struct.pack("<i", count) + values.next() + struct.pack("<i", 0)
        self._answer(ua.ObjectIds.ReadResponse_Encoding_DefaultBinary, handle, seqhdr, answer)
        return True

    def _answer(self, kind: int, handle: int, seqhdr: Any, parameters: bytes) -> None:
        # OPC 10000-4 §7.33: time, handle, Good, no diagnostics, no texts, nothing additional.
        header = struct.pack("<BBHqIIBiBBB", 1, 0, kind, 0, handle, 0, 0, 0, 0, 0, 0)
        message = self._connection.message_to_binary(header + parameters, request_id=seqhdr.RequestId)
        self._transport.write(message)


def _many(message: bytes) -> tuple[int, int]:
    """Return handle and number of nodes of a ReadRequest for many nodes; zeros for anything else."""
    reader = Reader(message)
    if reader.node_id().identifier != ua.ObjectIds.ReadRequest_Encoding_DefaultBinary:
        return 0, 0
    reader.node_id()
    reader.skip(8)
    handle = reader.uint32()
    reader.skip(4)
    reader.byte_string()
    reader.skip(4)
    reader.structure()
    reader.skip(8 + 4)
    count = reader.count(1)
    return (handle, count) if count > FEW else (0, 0)


async def main(count: int) -> None:
    subscription_service.InternalSubscription = Subscription
    binary_server_asyncio.UaProcessor = Processor
    server, url, index = await open_asyncua()
    for number in range(count):
        await server.nodes.objects.add_variable(ua.NodeId(f"v{number}", index), f"v{number}", 0.0)
    async with server:
        print(url.rpartition(":")[2], flush=True)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await reader.read()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
