"""Requests from the bytes of a wire, and answers to them: Modbus TCP, RTU and ASCII.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b §3.1.3, MODBUS over Serial Line V1.02 §2.5.
"""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_agent_modbus.rtu import crc
from edge_agent_modbus.simulator.faults import Garble
from edge_agent_modbus.simulator.unit import Answer

_HEADER = struct.Struct(">HHHB")
_LONGEST = 254  # unit and a PDU of 253 bytes
_NO_ANSWER = 11  # V1.1b3 §7: the gateway's target did not respond
_SILENCE_S = 0.02  # half a frame is over then; adapters deliver in pieces, so more than 3.5 characters
_CHUNK_BYTES = 512
_SHORTEST = 4  # unit, function, check
# V1.1b3 §6: bytes of a request with unit and check, and where a byte count adds to them.
_REQUEST_BYTES = {**dict.fromkeys((1, 2, 3, 4, 5, 6, 8), 8), 15: 9, 16: 9, 22: 10, 23: 13, 43: 7}
_COUNT_AT = {15: 6, 16: 6, 23: 10}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came, and how many bytes that were."""

    unit: int
    pdu: bytes
    size_bytes: int
    transaction: int = 0


class Framing(Protocol):
    """How requests and answers are on one connection."""

    async def receive(self, reader: asyncio.StreamReader) -> Asked:
        """Wait for the next request.

        Raises:
            asyncio.IncompleteReadError: no more come, or none that can be understood.
        """
        ...

    def frame(self, asked: Asked, answer: Answer) -> bytes:
        """Return what is sent, which may be nothing."""
        ...

    def nobody(self, asked: Asked) -> Answer:
        """Return what becomes of a request to a unit that is not there."""
        ...


class TcpFraming:
    """Modbus TCP, and a gateway that answers for units that are not there."""

    async def receive(self, reader: asyncio.StreamReader) -> Asked:
        transaction, protocol, length, unit = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if protocol != 0 or not 2 <= length <= _LONGEST:  # noqa: PLR2004 - unit and function at least
            raise asyncio.IncompleteReadError(b"", None)
        return Asked(unit, await reader.readexactly(length - 1), _HEADER.size + length - 1, transaction)

    def frame(self, asked: Asked, answer: Answer) -> bytes:
        if answer.pdu is None:
            return b""
        transaction, protocol, unit = asked.transaction, 0, asked.unit
        match answer.fault:
            case Garble(what="unit"):
                unit ^= 0x80
            case Garble(what="transaction"):
                transaction ^= 0x8000
            case Garble(what="header"):
                protocol = 0x4854
            case _:
                pass
        return _HEADER.pack(transaction, protocol, len(answer.pdu) + 1, unit) + answer.pdu

    def nobody(self, asked: Asked) -> Answer:
        return Answer(bytes([asked.pdu[0] | 0x80, _NO_ANSWER]))


class RtuFraming:
    """RTU: what is not understood is for nobody, and ends with the next silence."""

    def __init__(self) -> None:
        self._received = b""

    async def receive(self, reader: asyncio.StreamReader) -> Asked:
        while True:
            size = _request_bytes(self._received)
            frame = self._received[:size]
            if size and len(frame) == size and crc(frame[:-2]) == frame[-2:]:
                self._received = self._received[size:]
                return Asked(frame[0], frame[1:-2], len(frame))
            try:
                async with asyncio.timeout(_SILENCE_S if self._received else None):
                    data = await reader.read(_CHUNK_BYTES)
            except TimeoutError:
                frame, self._received = self._received, b""
                if len(frame) >= _SHORTEST and crc(frame[:-2]) == frame[-2:]:  # of a function of unknown size
                    return Asked(frame[0], frame[1:-2], len(frame))
                continue
            if not data:
                raise asyncio.IncompleteReadError(self._received, None)
            self._received = (self._received + data)[-_CHUNK_BYTES:]

    def frame(self, asked: Asked, answer: Answer) -> bytes:
        if answer.pdu is None:
            return b""
        body, spoilt = _body(asked, answer)
        first, second = crc(body)
        return body + bytes([first ^ spoilt, second])

    def nobody(self, asked: Asked) -> Answer:  # noqa: ARG002 - nobody looks into it
        return Answer(None)


class AsciiFraming:
    """Characters between a colon and an end of line; anything else is for nobody."""

    async def receive(self, reader: asyncio.StreamReader) -> Asked:
        while True:
            try:
                line = await reader.readuntil(b"\r\n")
            except asyncio.LimitOverrunError as exc:
                await reader.readexactly(exc.consumed)
                continue
            _, _, digits = line[:-2].rpartition(b":")
            try:
                data = bytes.fromhex(digits.decode("ascii"))
            except ValueError:
                continue
            if len(data) > 2 and not sum(data) & 0xFF:  # noqa: PLR2004 - unit, function, check
                return Asked(data[0], data[1:-1], len(digits) + 3)

    def frame(self, asked: Asked, answer: Answer) -> bytes:
        if answer.pdu is None:
            return b""
        body, spoilt = _body(asked, answer)
        check = -sum(body) & 0xFF ^ spoilt
        return b":%s\r\n" % (body + bytes([check])).hex().upper().encode()

    def nobody(self, asked: Asked) -> Answer:  # noqa: ARG002 - nobody looks into it
        return Answer(None)


FRAMINGS: dict[str, Callable[[], Framing]] = {"tcp": TcpFraming, "rtu": RtuFraming, "ascii": AsciiFraming}


def _body(asked: Asked, answer: Answer) -> tuple[bytes, int]:
    """Return unit and PDU, and what its check is spoilt by."""
    unit, spoilt = asked.unit, 0
    match answer.fault:
        case Garble(what="unit"):
            unit ^= 0x80
        case Garble(what="check"):
            spoilt = 0x10
        case _:
            pass
    return bytes([unit]) + (answer.pdu or b""), spoilt


def _request_bytes(received: bytes) -> int:
    """Return the size of the request that begins; 0: not known (yet)."""
    if len(received) < 2:  # noqa: PLR2004 - unit and function
        return 0
    place = _COUNT_AT.get(received[1])
    if place is not None and len(received) <= place:
        return 0
    return _REQUEST_BYTES.get(received[1], 0) + (0 if place is None else received[place])
