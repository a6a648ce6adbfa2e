"""Modbus RTU on a serial port or a socket: frames without a number, so an answer must prove whose it is.

Source: MODBUS over Serial Line Specification and Implementation Guide V1.02.
Why it is not pymodbus's: docs/adr/0011-modbus-rtu.md.

After a request that was not answered, a late answer may still come. Before the next request of the same function
the unit is asked for something that no late answer can be taken for, a *fence*; see ``owed``.
"""

import asyncio
from typing import cast

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent_modbus.dialer import Dialed, notice_loss
from edge_agent_modbus.owed import FENCE_TRIES, Debts, Owed, reply_bytes
from edge_agent_modbus.pdu import repeats_safely
from edge_agent_modbus.serial_port import SerialModel, open_port

_EXCEPTION = 0x80
_EXCEPTION_BYTES = 5  # unit, function, code, CRC
_REPEATED = {5, 6, 8, 22}  # MODBUS Application Protocol V1.1b3 §6: the answer is the request
_ECHO = 8  # MODBUS Application Protocol V1.1b3 §6.8.1: what comes back is what was sent
_GAP_S = 0.05
_MAX_BYTES = 1024  # of answers, before what waits is noise


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)  # noqa: PLW2901 - §6.2.2: bit by bit
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def crc(data: bytes) -> bytes:
    """Return the check of a frame as it is sent, low byte first (§6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


class RtuTransport(Dialed, asyncio.Protocol):
    """One line. One exchange at a time, as its turns have it.

    Args:
        peer: the far end, for messages.
        silence_s: between two frames.
        answer_s: how long an answer is waited for before the second try.
        debts: what units owe since an earlier connection.
        character_s: how long a byte takes on the wire; what is written is not sent yet.
    """

    _gap_s = _GAP_S  # adapters and gateways deliver a frame in pieces; a real gap is longer

    def __init__(
        self, peer: str, silence_s: float, answer_s: float, debts: Debts | None = None, character_s: float = 0.0
    ) -> None:
        self.peer = peer
        self.lost: str | None = None
        self.discarded = 0
        self._silence_s = silence_s
        self._answer_s = answer_s
        self._character_s = character_s
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._last_byte_s = self._loop.time()
        self._arrived = asyncio.Event()
        self._sent = b""  # of which an echo may come
        self._debts = Debts() if debts is None else debts

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        """As the ``Transport`` says; a request that reads has one second try."""
        owed = self._debts.setdefault(unit, Owed())
        owed.expire(self._loop.time())
        if owed.has(pdu[0]):
            await self._settle(unit, pdu, owed)
        if repeats_safely(pdu):
            try:
                async with asyncio.timeout(self._answer_s):
                    return await self._ask(unit, pdu)
            except (TimeoutError, ExchangeError):
                pass
        return await self._ask(unit, pdu)

    def close(self) -> None:
        self._lose("was closed by this side")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if (sock := transport.get_extra_info("socket")) is not None:
            notice_loss(sock)

    def data_received(self, data: bytes) -> None:
        self._last_byte_s = max(self._last_byte_s, self._loop.time())
        self._received = (self._received + data)[-_MAX_BYTES:]
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"broke ({exc})" if exc else "was closed by the other side")

    async def _settle(self, unit: int, pdu: bytes, owed: Owed) -> None:
        """Make sure that no answer is owed any more that could be taken for that to ``pdu``."""
        for _ in range(FENCE_TRIES):
            fence, request = owed.fence(pdu)
            try:
                async with asyncio.timeout(self._answer_s):
                    answer = await self._ask(unit, request)
            except (TimeoutError, ExchangeError):
                continue
            if owed.held(fence, request, answer, pdu):
                return
        left_s = owed.left_s(pdu[0], self._loop.time())
        raise ExchangeError(
            f"unit {unit} at {self.peer} did not answer function {pdu[0]} and may still do so: "
            f"not asked for {left_s:.0f} s, lest that is taken for the next answer"
        )

    async def _ask(self, unit: int, pdu: bytes) -> bytes:
        """Send once and wait for the answer, however long that takes."""
        await self._quiet()
        if self.lost is not None:
            raise DeviceUnavailableError(self.lost)
        owed = self._debts[unit]
        owed.sent(pdu, self._loop.time())
        frame = self._frame(unit, pdu)
        self._sent = frame
        self._transport.write(frame)
        self._last_byte_s = self._loop.time() + len(frame) * self._character_s
        answer = await self._answer(unit, pdu)
        owed.answered(pdu[0])
        return answer

    async def _answer(self, unit: int, pdu: bytes) -> bytes:
        while True:
            self._arrived.clear()
            if self.lost is not None:
                raise DeviceUnavailableError(self.lost)
            self._drop_echo(pdu[0])
            found = self._find(unit, pdu)
            if found is not None:
                return found
            try:
                async with asyncio.timeout(self._gap_s if self._received else None):
                    await self._arrived.wait()
            except TimeoutError:
                noise, self._received = self._received, b""
                self.discarded += 1
                raise ExchangeError(
                    f"unit {unit} at {self.peer}: {len(noise)} bytes that are no answer ({noise[:8].hex(' ')} …); "
                    "check parity, baud rate, termination and shielding"
                ) from None

    def _drop_echo(self, function: int) -> None:
        """Forget what an adapter hands back of a request: any whose answer is another one shows that it does."""
        if (
            self._sent
            and self._received.startswith(self._sent)
            and (self._debts.has_echo or function not in _REPEATED)
        ):
            self._received = self._received[len(self._sent) :]
            self._debts.has_echo, self._sent = True, b""

    def _frame(self, unit: int, pdu: bytes) -> bytes:
        data = bytes([unit]) + pdu
        return data + crc(data)

    def _find(self, unit: int, pdu: bytes) -> bytes | None:
        """Return the answer if it is there, and forget what was before it."""
        data, function = self._received, pdu[0]
        for begin in range(len(data) - _EXCEPTION_BYTES + 1):
            if data[begin] != unit or data[begin + 1] & ~_EXCEPTION != function:
                continue
            is_refusal = data[begin + 1] & _EXCEPTION
            size = _EXCEPTION_BYTES if is_refusal else reply_bytes(pdu) or len(data) - begin
            frame = data[begin : begin + size]
            if len(frame) < size or crc(frame[:-2]) != frame[-2:]:
                continue
            if function == _ECHO and not is_refusal and frame[1:-2] != pdu:
                continue
            self.discarded += begin > 0
            self._received = data[begin + size :]
            self.has_answered = True
            return frame[1:-2]
        return None

    async def _quiet(self) -> None:
        """Wait until nothing has come for the silence between two frames; what came is for nobody."""
        while (left_s := self._last_byte_s + self._least_silence_s() - self._loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_s)  # until a time, not until something happens
        if self._received:
            self.discarded += 1
            self._received = b""

    def _least_silence_s(self) -> float:
        """Of what nobody asked for, more may come after a gap."""
        return max(self._silence_s, _GAP_S) if self._received else self._silence_s

    def _lose(self, what: str) -> None:
        if self.lost is None:
            self.lost = f"{self.peer} {what}; check the adapter, its cable and the network"
            self._arrived.set()
            self._transport.abort()


async def open_serial(
    settings: SerialModel,
    silence_s: float,
    answer_s: float,
    debts: Debts | None = None,
    kind: type[RtuTransport] = RtuTransport,
) -> RtuTransport:
    """Open a port as a line; see ``open_port``."""
    character_s = settings.character_bits / settings.baud_rate
    transport = kind(settings.port, silence_s, answer_s, debts, character_s)
    open_port(settings, transport)
    return transport
