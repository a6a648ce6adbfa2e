"""An RS-485 line in virtual time: characters take theirs, units answer in theirs, and frames get lost or damaged.

What pseudo-terminals do not show, this does: it fails when two frames overlap or follow each other too closely.
"""

import asyncio
import random
import struct
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from edge_agent_modbus.owed import Debts
from edge_agent_modbus.rtu import RtuTransport, crc
from tests.servers.modbus_rtu import value

_PIECE_BYTES = 14  # adapters hand on what has come every now and then


@dataclass
class Units:
    """What is on the line, and how it behaves.

    Attributes:
        there: the units that answer; may be changed at any time.
        knows: functions that they answer; of the rest they take no notice.
        turn_around_s: from the end of a request to the begin of its answer, at least and at most.
        late: part of the answers that come two time-outs late.
        lost: part of the frames, both ways, that do not arrive.
        garbled: part of them that arrive damaged.
    """

    there: set[int]
    knows: Container[int] = (3, 4, 8)
    turn_around_s: tuple[float, float] = (0.005, 0.015)
    late: float = 0.0
    late_s: float = 1.0
    lost: float = 0.0
    garbled: float = 0.0


@dataclass
class VirtualBus:
    """One line. ``open`` gives a transport to it; a new one when the line is opened again.

    Attributes:
        requests: what was asked, and when.
        lost, garbled, late, collisions: frames that met this fate.
        opened: how often the line was.
    """

    units: Units
    baud_rate: int = 9600
    silence_s: float = 3.5 * 11 / 9600
    answer_s: float = 0.25
    seed: int = 1
    requests: list[tuple[float, bytes]] = field(default_factory=list)
    lost: int = 0
    garbled: int = 0
    late: int = 0
    opened: int = 0
    collisions: int = 0
    _heard_s: float = -1.0  # the last byte that the client sent or got
    _answers_until_s: float = -1.0
    _spoilt_until_s: float = -1.0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._ready_s: dict[int, float] = {}
        self._debts = Debts()

    async def open(self) -> RtuTransport:
        """Open the line anew."""
        self.opened += 1
        transport = RtuTransport("the line", self.silence_s, self.answer_s, self._debts, 11 / self.baud_rate)
        transport.connection_made(_Wire(self, transport))
        return transport

    def send(self, frame: bytes, deliver: Callable[[bytes], None]) -> None:
        """Carry a request from the client; ``deliver`` takes what comes back."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        assert now_s >= self._heard_s + self.silence_s - 1e-9, "no silence before a request"
        self.requests.append((now_s, frame))
        end_s = self._heard_s = now_s + self._duration_s(frame)
        if now_s < self._answers_until_s:  # a late one that the client has not heard of yet
            self.collisions += 1
            self._spoilt_until_s = max(end_s, self._answers_until_s)
            return
        loop.call_at(end_s, self._hear, self._damage(frame), deliver)

    def _hear(self, frame: bytes, deliver: Callable[[bytes], None]) -> None:
        if len(frame) != 8 or crc(frame[:-2]) != frame[-2:] or frame[0] not in self.units.there:
            return
        unit, function, address, count = struct.unpack_from(">BBHH", frame)
        if function not in self.units.knows:
            return
        answer = frame[:-2]
        if function != 8:
            words = [value(unit, place, function) for place in range(address, address + count)]
            answer = bytes([unit, function, 2 * count]) + struct.pack(f">{count}H", *words)
        loop = asyncio.get_running_loop()
        ready_s = max(loop.time(), self._ready_s.get(unit, 0.0)) + self._chance.uniform(*self.units.turn_around_s)
        if self._chance.random() < self.units.late:
            self.late += 1
            ready_s += self._chance.random() * self.units.late_s
        self._ready_s[unit] = ready_s  # it takes one request after the other
        loop.call_at(ready_s, self._answer, answer + crc(answer), deliver)

    def _answer(self, frame: bytes, deliver: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        if begin_s < max(self._heard_s, self._answers_until_s):  # somebody else is at it
            self.collisions += 1
            return
        frame = self._damage(frame)
        for start in range(0, len(frame), _PIECE_BYTES):
            piece = frame[start : start + _PIECE_BYTES]
            loop.call_at(begin_s + self._duration_s(frame[: start + len(piece)]), self._arrive, piece, deliver)
        self._answers_until_s = begin_s + self._duration_s(frame)

    def _arrive(self, piece: bytes, deliver: Callable[[bytes], None]) -> None:
        self._heard_s = max(self._heard_s, asyncio.get_running_loop().time())
        deliver(garble(piece, self._chance) if self._heard_s <= self._spoilt_until_s else piece)

    def _damage(self, frame: bytes) -> bytes:
        fate = self._chance.random()
        if fate < self.units.lost:
            self.lost += 1
            return b""
        if fate < self.units.lost + self.units.garbled:
            self.garbled += 1
            return garble(frame, self._chance)
        return frame

    def _duration_s(self, frame: bytes) -> float:
        return len(frame) * 11 / self.baud_rate


def garble(frame: bytes, chance: random.Random) -> bytes:
    """Return what becomes of a frame: a bit turned, bytes replaced, the end cut off, or noise before it."""
    begin = chance.randrange(len(frame))
    end = min(len(frame), begin + chance.randint(1, 4))
    return chance.choice(
        [
            frame[:begin] + bytes([frame[begin] ^ 1 << chance.randrange(8)]) + frame[begin + 1 :],
            frame[:begin] + chance.randbytes(end - begin) + frame[end:],
            frame[:begin],
            chance.randbytes(end - begin) + frame[1:],
        ]
    )


class _Wire(asyncio.Transport):
    """The client's end."""

    def __init__(self, bus: VirtualBus, protocol: RtuTransport) -> None:
        super().__init__()
        self._bus = bus
        self._protocol = protocol
        self._is_open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._bus.send(bytes(data), self._deliver)

    def abort(self) -> None:
        self._is_open = False

    def _deliver(self, data: bytes) -> None:
        if self._is_open:
            self._protocol.data_received(data)
