"""Modbus TCP's frames over UDP: a datagram each way, and nobody who sends again what is lost but we.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b §3.1.3 for the header; no standard has it over UDP.
"""

import asyncio
from typing import cast

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent_modbus.dialer import Dialed
from edge_agent_modbus.pdu import repeats_safely
from edge_agent_modbus.tcp import HEADER, MIN_LENGTH


class UdpTransport(Dialed, asyncio.DatagramProtocol):
    """One socket. One exchange at a time, as its turns have it; what comes late has another transaction id.

    Args:
        peer: the far end, for messages.
        answer_s: how long an answer is waited for before the second try.
    """

    def __init__(self, peer: str, answer_s: float) -> None:
        self.peer = peer
        self.lost: str | None = None
        self.discarded = 0
        self._answer_s = answer_s
        self._transaction = 0
        self._waiting: dict[int, tuple[int, asyncio.Future[bytes]]] = {}  # by transaction: unit, PDU of the answer
        self._loop = asyncio.get_running_loop()

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        """As the ``Transport`` says; a request that reads has one second try."""
        if repeats_safely(pdu):
            try:
                async with asyncio.timeout(self._answer_s):
                    return await self._ask(unit, pdu)
            except TimeoutError:
                pass
        return await self._ask(unit, pdu)

    def close(self) -> None:
        self._lose("was closed by this side")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, _address: object) -> None:
        transaction, protocol, length, unit = HEADER.unpack_from(data.ljust(HEADER.size, b"\0"))
        asked_unit, answer = self._waiting.get(transaction, (0, None))
        is_whole = protocol == 0 and length >= MIN_LENGTH and length == len(data) - (HEADER.size - 1)
        if not is_whole or answer is None or answer.done():
            self.discarded += 1
        elif unit != asked_unit:
            self.discarded += 1
            answer.set_exception(
                ExchangeError(f"{self.peer}: unit {unit} answered a request to unit {asked_unit}")
            )
        else:
            self.has_answered = True
            answer.set_result(data[HEADER.size :])

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):
            self._lose("has nothing that listens there; check port: and that the device takes UDP")
        else:
            self._lose(f"cannot be reached ({exc}); check host:, cable and power")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"broke ({exc})" if exc else "was closed")

    async def _ask(self, unit: int, pdu: bytes) -> bytes:
        """Send once and wait for the answer, however long that takes."""
        if self.lost is not None:
            raise DeviceUnavailableError(self.lost)
        transaction = self._transaction = self._transaction % 0xFFFF + 1
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[transaction] = (unit, answer)
        try:
            self._transport.sendto(HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu)
            return await answer
        finally:
            del self._waiting[transaction]

    def _lose(self, what: str) -> None:
        if self.lost is not None:
            return
        self.lost = f"{self.peer} {what}"
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(DeviceUnavailableError(self.lost))
        self._transport.abort()
