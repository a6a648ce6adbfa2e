"""Modbus over a TCP socket, plain or TLS: each request gets its own answer, and a lost socket shows at once.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
Why it is not pymodbus's: docs/adr/0002-modbus-transport.md.
"""

import asyncio
import ssl
import struct
from typing import cast

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent_modbus.dialer import Dialed, notice_loss
from edge_agent_modbus.tls import explain

_HEADER = struct.Struct(">HHHB")  # §3.1.3 MBAP: transaction, protocol, length (unit and PDU), unit
_MAX_LENGTH = 254  # §3.1.3: 260 bytes altogether, less the six before the unit
_MIN_LENGTH = 2  # unit and function code

_MAX_WAITING_BYTES = 4096  # about 300 requests that the peer did not even take from the wire
_MAX_UNASKED = 100  # answers in a row that nobody waits for


class TcpTransport(Dialed, asyncio.Protocol):
    """One connection. Several exchanges may be under way; each is told by its transaction id."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.lost: str | None = None
        self.discarded = 0
        self._unasked = 0
        self._transaction = 0
        self._waiting: dict[int, tuple[int, asyncio.Future[bytes]]] = {}  # by transaction: unit, PDU of the answer
        self._partial = b""
        self._loop = asyncio.get_running_loop()

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        """As the ``Transport`` says. Half an answer at the end of its exchange ends the connection."""
        if self.lost is not None:
            raise DeviceUnavailableError(self.lost)
        transaction = self._transaction = self._transaction % 0xFFFF + 1  # never 0, which careless devices answer
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[transaction] = (unit, answer)
        self._transport.write(_HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu)
        try:
            return await answer
        except asyncio.CancelledError:
            if self._partial:
                self._lose("stopped in the middle of an answer")
            raise
        finally:
            self._waiting.pop(transaction, None)

    def close(self) -> None:
        self._lose("the connection was closed by this side")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_MAX_WAITING_BYTES)
        notice_loss(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        if self._partial:
            data = self._partial + data
        begin, size = 0, len(data)
        while size - begin >= _HEADER.size and self.lost is None:
            transaction, protocol, length, unit = _HEADER.unpack_from(data, begin)
            if protocol != 0 or not _MIN_LENGTH <= length <= _MAX_LENGTH:
                self._lose(
                    f"sends what is not Modbus TCP ({data[begin : begin + _HEADER.size].hex(' ')}); check port:"
                )
                return
            end = begin + 6 + length
            if end > size:
                break
            self._deliver(transaction, unit, data[begin + _HEADER.size : end])
            begin = end
        self._partial = data[begin:]

    def pause_writing(self) -> None:
        self._lose("takes no more requests")

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, ssl.SSLError):  # TLS 1.3: only now it has looked at our certificate
            self._lose(f"broke the connection: {explain(exc)}", exc)
        else:
            self._lose(f"broke the connection ({exc})" if exc else "closed the connection", exc)

    def _deliver(self, transaction: int, unit: int, pdu: bytes) -> None:
        asked_unit, answer = self._waiting.pop(transaction, (0, None))
        if answer is None or answer.done():
            self.discarded += 1
            self._unasked += 1
            if self._unasked > _MAX_UNASKED:
                self._lose(f"sent {self._unasked} answers in a row that nobody waits for")
        elif unit != asked_unit:
            self.discarded += 1
            answer.set_exception(
                ExchangeError(f"{self.peer}: unit {unit} answered a request to unit {asked_unit}")
            )
        else:
            self._unasked = 0
            self.has_answered = True
            answer.set_result(pdu)

    def _lose(self, what: str, cause: BaseException | None = None) -> None:
        """Give the connection up: whoever waits, and whoever comes, hears why."""
        if self.lost is not None:
            return
        self.lost = f"{self.peer} {what}; check the device, the network, and how many clients it allows"
        for _, answer in self._waiting.values():
            if not answer.done():
                error = DeviceUnavailableError(self.lost)
                error.__cause__ = cause
                answer.set_exception(error)
        self._waiting.clear()
        self._partial = b""
        self._transport.abort()
