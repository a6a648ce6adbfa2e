"""Modbus over one TCP socket: each request gets the answer that is its own, and a lost socket shows at once.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
Why it is not pymodbus's: docs/adr/0002-modbus-transport.md.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from typing import TypeVar, cast

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent_modbus.transport import peer_name

P = TypeVar("P", bound=asyncio.Protocol)

_HEADER = struct.Struct(">HHHB")  # §3.1.3 MBAP: transaction, protocol, length (unit and PDU), unit
_MAX_LENGTH = 254  # §3.1.3: 260 bytes altogether, less the six before the unit
_MIN_LENGTH = 2  # unit and function code

# A peer that vanished without a word is noticed by the kernel, whoever of the units behind it is asked meanwhile.
_USER_TIMEOUT_MS = 10_000  # sent, and not acknowledged by the peer's TCP
_KEEP_ALIVE_IDLE_S = 10
_KEEP_ALIVE_INTERVAL_S = 3
_KEEP_ALIVE_PROBES = 3

_MAX_WAITING_BYTES = 4096  # about 300 requests that the peer did not even take from the wire
_MAX_UNASKED = 100  # answers in a row that nobody waits for

_WHY = {
    errno.ECONNREFUSED: "nothing listens there; check port: and that the device's Modbus server is switched on",
    errno.EHOSTUNREACH: "no way to it; check host:, cable, power and the gateway's own network",
    errno.ENETUNREACH: "no way to it; check host: and the gateway's own address and routes",
    errno.ETIMEDOUT: "no answer; check host:, cable, power and firewalls",
    errno.ECONNRESET: "it resets connections; it may allow a few clients only, or only known addresses",
}


async def open_tcp(host: str, port: int) -> "TcpTransport":
    """Connect; leaves nothing open when cancelled.

    Raises:
        DeviceUnavailableError: no connection; the message says what to check.
    """
    return await connect(host, port, TcpTransport)


async def connect(host: str, port: int, make: Callable[[str], P]) -> P:
    """As ``open_tcp``, for a protocol that is made of the peer's name."""
    peer = peer_name(host, port)
    try:
        _, transport = await asyncio.get_running_loop().create_connection(lambda: make(peer), host, port)
    except (socket.gaierror, UnicodeError) as exc:
        raise DeviceUnavailableError(f"{peer}: the name has no address ({exc}); check host: and DNS") from exc
    except OSError as exc:
        why = _WHY.get(exc.errno or 0, f"{exc}; check host:, port:, cable and power")
        raise DeviceUnavailableError(f"{peer}: {why}") from exc
    return transport


def notice_loss(sock: socket.socket) -> None:
    """Let the kernel end a connection whose peer vanished without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_ALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


class TcpTransport(asyncio.Protocol):
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
