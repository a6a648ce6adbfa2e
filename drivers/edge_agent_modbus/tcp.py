"""Modbus over a TCP socket, plain or TLS: each request gets its own answer, and a lost socket shows at once.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
Why it is not pymodbus's: docs/adr/0002-modbus-transport.md.
"""

import asyncio
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import cast

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent_modbus.dialer import Dialed, notice_loss
from edge_agent_modbus.tls import NO_ANSWER, explain
from edge_agent_modbus.window import Window

HEADER = struct.Struct(">HHHB")  # §3.1.3 MBAP: transaction, protocol, length (unit and PDU), unit
_MAX_LENGTH = 254  # §3.1.3: 260 bytes altogether, less the six before the unit
MIN_LENGTH = 2  # unit and function code

_MAX_WAITING_BYTES = 4096  # about 300 requests that the peer did not even take from the wire
_MAX_UNASKED = 100  # answers in a row that nobody waits for
_HOLD_S = 0.5  # until a device that mixes its answers up has sent the other one, too


@dataclass(slots=True)
class _Exchange:
    """A request that is under way.

    Attributes:
        has_company: another one was under way with it.
        held: its answer, which overtook that to an older request.
    """

    unit: int
    answer: asyncio.Future[bytes]
    has_company: bool
    held: bytes | None = None


class TcpTransport(Dialed, asyncio.Protocol):
    """One connection. Several exchanges may be under way; each is told by its transaction id.

    A device that takes a request while it works on another one may send the answer to the first with the id of the
    second. Then two answers have the same id; so one that overtakes an older one is held for a while.
    """

    def __init__(self, peer: str, window: Window | None = None) -> None:
        self.peer = peer
        self.lost: str | None = None
        self.discarded = 0
        self._window = window or Window(1, {})
        self._unasked = 0
        self._transaction = 0
        self._waiting: dict[int, _Exchange] = {}  # by transaction, the oldest first
        self._partial = b""
        self._loop = asyncio.get_running_loop()

    @property
    def places(self) -> int:
        return self._window.places

    @property
    def given_up(self) -> str:
        return self._window.given_up

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        """As the ``Transport`` says. Half an answer at the end of its exchange ends the connection."""
        if self.lost is not None:
            raise DeviceUnavailableError(self.lost)
        transaction = self._transaction = self._transaction % 0xFFFF + 1  # never 0, which careless devices answer
        exchange = _Exchange(unit, self._loop.create_future(), bool(self._waiting))
        for other in self._waiting.values():
            other.has_company = True
        self._waiting[transaction] = exchange
        self._transport.write(HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu)
        try:
            return await exchange.answer
        except asyncio.CancelledError:
            if self._partial and not self._is_anothers(self._partial, transaction):
                self._lose("stopped in the middle of an answer")
            elif exchange.held is None:
                self._window.silent(unit, has_company=exchange.has_company)
            raise
        finally:
            if self._waiting.pop(transaction, None) is not None:
                self._release()

    def pardon(self, unit: int) -> None:
        self._window.pardon(unit)

    def close(self) -> None:
        self._lose("the connection was closed by this side")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_MAX_WAITING_BYTES)
        shown: dict[str, str] | None = transport.get_extra_info("peercert")
        self._is_tls = bool(shown)
        if shown:
            self.certificate_end_ns = ssl.cert_time_to_seconds(shown["notAfter"]) * 10**9
        self._socket: socket.socket = transport.get_extra_info("socket")
        notice_loss(self._socket)

    def data_received(self, data: bytes) -> None:
        if self._partial:
            data = self._partial + data
        begin, size = 0, len(data)
        while size - begin >= HEADER.size and self.lost is None:
            transaction, protocol, length, unit = HEADER.unpack_from(data, begin)
            if protocol != 0 or not MIN_LENGTH <= length <= _MAX_LENGTH:
                self._lose(
                    f"sends what is not Modbus TCP ({data[begin : begin + HEADER.size].hex(' ')}); check port:"
                )
                return
            end = begin + 6 + length
            if end > size:
                break
            self._deliver(transaction, unit, data[begin + HEADER.size : end])
            begin = end
        self._partial = data[begin:]
        if (
            self._waiting
        ):  # a device with Nagle's algorithm sends the next answer when it knows that we have this one
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def pause_writing(self) -> None:
        self._lose("takes no more requests")

    def connection_lost(self, exc: Exception | None) -> None:
        if len(self._waiting) > 1 and (exc is None or isinstance(exc, ConnectionError)):
            self._window.struck("it broke the connection")
        what = f"broke the connection ({exc})" if exc else "closed the connection"
        if isinstance(exc, ssl.SSLError):  # TLS 1.3: only now it has looked at our certificate
            what = f"broke the connection: {explain(exc)}"
        elif self._is_tls and not self.has_answered:
            what += f" {NO_ANSWER}"
        self._lose(what, exc)

    def _deliver(self, transaction: int, unit: int, pdu: bytes) -> None:
        exchange = self._waiting.get(transaction)
        if exchange is None or exchange.answer.done():
            self.discarded += 1
            self._unasked += 1
            if self._unasked > _MAX_UNASKED:
                self._lose(f"sent {self._unasked} answers in a row that nobody waits for")
        elif unit != exchange.unit:
            self.discarded += 1
            what = f"{self.peer}: unit {unit} answered a request to unit {exchange.unit}"
            self._settle(transaction, ExchangeError(what))
            if exchange.has_company:
                self._window.struck("answers came from other units")
        elif exchange.held is not None:
            self._window.struck("two answers came for one request", is_proof=True)
            for each in list(self._waiting):
                self.discarded += 1
                self._settle(
                    each, ExchangeError(f"{self.peer} mixes up the answers to requests under way at once")
                )
        elif transaction == next(iter(self._waiting)):
            self._settle(transaction, pdu)
            self._release()
        else:
            exchange.held = pdu
            self._loop.call_later(_HOLD_S, self._let_go, exchange)

    def _is_anothers(self, begin: bytes, transaction: int) -> bool:
        """Return whether these bytes begin the answer to another request that is under way."""
        owner = int.from_bytes(begin[:2])
        return len(begin) > 1 and owner != transaction and owner in self._waiting

    def _settle(self, transaction: int, outcome: bytes | ExchangeError) -> None:
        exchange = self._waiting.pop(transaction)
        if exchange.answer.done():  # it is being cancelled
            return
        if isinstance(outcome, bytes):
            self._unasked = 0
            self.has_answered = True
            self._window.answered(exchange.unit, has_company=exchange.has_company)
            exchange.answer.set_result(outcome)
        else:
            exchange.answer.set_exception(outcome)

    def _release(self) -> None:
        """Hand out what is held and has become the oldest."""
        while self._waiting:
            transaction, oldest = next(iter(self._waiting.items()))
            if oldest.held is None:
                return
            self._settle(transaction, oldest.held)

    def _let_go(self, exchange: _Exchange) -> None:
        """Hand out what was held for long enough."""
        for transaction, each in self._waiting.items():
            if each is exchange and each.held is not None:
                self._settle(transaction, each.held)
                return

    def _lose(self, what: str, cause: BaseException | None = None) -> None:
        """Give the connection up: whoever waits, and whoever comes, hears why."""
        if self.lost is not None:
            return
        self.lost = f"{self.peer} {what}; check the device, the network, and how many clients it allows"
        for exchange in self._waiting.values():
            if not exchange.answer.done():
                error = DeviceUnavailableError(self.lost)
                error.__cause__ = cause
                exchange.answer.set_exception(error)
        self._waiting.clear()
        self._partial = b""
        self._transport.abort()
