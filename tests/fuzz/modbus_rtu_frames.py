"""Any frames from a unit on a line of RTU frames, many and fast: the whole session, without a port.

``python -m tests.fuzz.modbus_rtu_frames 10000000 [SEED]`` prints what became of them and fails at the first frame
that breaks a rule: a reading for each point, Good or Bad, or a DriverError, or a time-out; a Good value is the one
that stands in its own register of an answer to a request of this very read, although many answers come late and
look like those to the next request; points are refused only if the unit refused a request of this read.

The unit answers in the order in which it was asked, some requests later than any time-out, and adds noise of all
kinds. Time is virtual, so that no time-out is waited for.

Ten million requests with seed 1 took 23 minutes of one core and broke no rule: 1.34 million reads, 0.69 million
void exchanges, 0.45 million time-outs; 0.77 million answers came late. That was
before some lines had an echo.
"""

import asyncio
import random
import struct
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge_agent.errors import DeviceUnavailableError, DriverError, ExchangeError
from edge_agent.model import ReadingBatch
from edge_agent.testing.conformance import check_batch
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.gaps import Gaps
from edge_agent_modbus.owed import Debts
from edge_agent_modbus.rtu import RtuTransport, crc
from edge_agent_modbus.session import ModbusSession, ModbusUnit
from edge_agent_modbus.transport import Transport
from tests.fuzz.command import command
from tests.fuzz.modbus_frames import WORDS, points
from tests.servers.virtual_time import VirtualClock, run_at_once

TIMEOUT_S = 0.5
LATEST_S = 9.0  # the driver relies on that after ten seconds nothing comes
UNIT = 7
ECHOES = ("echoes", "refuses", "ignores")  # what a unit makes of function 8

Answer = Callable[[bytes], list[bytes]]
"""Takes a request and gives the pieces that come at once."""


class Wire(asyncio.Transport):
    """A line without a port."""

    def __init__(self, protocol: RtuTransport, answer: Answer) -> None:
        super().__init__()
        self._protocol = protocol
        self._answer = answer
        self._is_open = True

    def write(self, data: Any) -> None:
        loop = asyncio.get_running_loop()
        for number, piece in enumerate(self._answer(bytes(data))):
            loop.call_later(0.001 * number, self._deliver, piece)

    def abort(self) -> None:
        self._is_open = False

    def _deliver(self, piece: bytes) -> None:
        if self._is_open:
            self._protocol.data_received(piece)


def framed(body: bytes) -> bytes:
    """Return a frame with its check."""
    return body + crc(body)


def honest(request: bytes, salt: int) -> bytes:
    """Return the answer to a request that reads; ``salt`` makes the registers of each answer its own."""
    unit, function, address, count = struct.unpack_from(">BBHH", request)
    if function <= 2:
        data = bytes((count + 7) // 8)
    else:
        data = struct.pack(f">{count}H", *[(31 * a + salt) & 0xFFFF for a in range(address, address + count)])
    return framed(bytes([unit, function, len(data)]) + data)


@dataclass
class Fuzzer:
    """Reads from a unit that answers with anything."""

    chance: random.Random
    points: list[dict[str, Any]] = field(default_factory=points)
    outcomes: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    late: int = 0
    connections: int = 0
    _known: dict[int, set[int]] = field(default_factory=dict)  # by address: what came in answers to this read
    _is_refused: bool = False
    _owed: deque[tuple[float, bytes]] = field(
        default_factory=deque
    )  # answers that are still to come, and since when
    _echoes: str = ECHOES[0]
    _has_echo: bool = False  # whether the adapter hands back what is sent

    def __post_init__(self) -> None:
        config = {
            "id": "d",
            "driver": "modbus",
            "unit": UNIT,
            "serial": {"port": "/dev/wire"},
            "points": self.points,
        }
        self._config = ModbusDevice.model_validate(config | {"timeout": f"{round(TIMEOUT_S * 1000)}ms"})
        self._context = FakeContext(clock=VirtualClock())
        self._device = ModbusUnit(self._context, self._config)
        self._requests = self._device.plan(self._device.polled, frozenset())
        self._debts = Debts()
        self._answer: Answer = self._any_answer
        self._ways = [
            self._as_it_is, self._as_it_is, self._as_it_is, self._changed, self._cut, self._silence, self._late,
            self._noise, self._noise_before, self._noise_after, self._exception, self._shorter,
            self._of_another_unit,
        ]  # fmt: skip

    async def run(self, count: int) -> None:
        """Give the unit ``count`` requests to answer."""
        while self.frames < count:
            if self.connections % 20 == 0:  # another line
                self._has_echo, self._debts = self.chance.random() < 0.5, Debts()
                self._owed.clear()
            await self.connect()
            while self.frames < count and self.chance.random() > 0.01:
                for request in self._requests:
                    await self.read(request)
                    await asyncio.sleep(self.chance.choice((0.0, 0.0, 0.0, 1.0, 30.0)))
            await self.close()

    async def connect(self) -> None:
        """Open the line, to a unit that was there before."""
        self._echoes = self.chance.choice(ECHOES)
        self._transport = RtuTransport("wire", 0.002, TIMEOUT_S / 2, self._debts)
        self._transport.connection_made(Wire(self._transport, self._answer_now))
        name = f"wire-{self.connections % 2}"
        line = self._context.line(name, self._open, lambda transport: transport.close())
        gaps = Gaps(self._context.state, self._context.clock)
        self._session = ModbusSession(self._context, self._config, gaps, line, await line.attach())
        self.connections += 1

    async def close(self) -> None:
        """Give the line up."""
        await self._session.close()

    async def _open(self) -> Transport:
        return self._transport

    async def read(self, request: Any, answer: Answer | None = None) -> str:
        """Read the points of a request once. Return what came of it."""
        self._known.clear()
        self._is_refused = False
        self._answer = answer or self._any_answer
        try:
            async with asyncio.timeout(TIMEOUT_S):
                batch = await self._session.read(request)
            self._check(request.points, batch)
            outcome = "read"
        except TimeoutError:
            outcome = "unanswered"
        except ExchangeError:
            outcome = "exchange void"
        except DeviceUnavailableError as error:
            raise AssertionError("no bytes are a reason to give a line up") from error
        except DriverError as error:
            raise AssertionError("a session raises no other DriverError") from error
        self.outcomes[outcome] += 1
        return outcome

    def _check(self, asked: Any, batch: ReadingBatch) -> None:
        check_batch(batch)
        seen = sorted(index for column in batch.columns for index in column.points)
        assert seen == list(asked), "a point has no reading, or two"
        assert self._is_refused or not batch.refused, "refused by an answer to an earlier read"
        for column in batch.columns:
            if column.values is None:
                continue
            for position, index in enumerate(column.points):
                if index < WORDS and not (column.statuses and column.statuses[position]):
                    address = self.points[index]["holding"]
                    is_own = column.values[position] in self._known.get(address, ())
                    assert is_own, f"point {index}: not its own value"

    def _answer_now(self, request: bytes) -> list[bytes]:
        return self._answer(request)

    def _any_answer(self, request: bytes) -> list[bytes]:
        echo = [request] if self._has_echo else []
        return echo + self._answer_of_unit(request)

    def _answer_of_unit(self, request: bytes) -> list[bytes]:
        self.frames += 1
        now_s = asyncio.get_running_loop().time()
        while self._owed and now_s > self._owed[0][0] + LATEST_S:
            self._owed.popleft()
        assert request[0] == UNIT
        if request[1] == 8:
            own = {"echoes": request, "refuses": framed(bytes([UNIT, 0x88, 1])), "ignores": b""}[self._echoes]
        else:
            own = honest(request, self.chance.getrandbits(16))
        way = self.chance.choice(self._ways)
        if way == self._late:
            if own:
                self._owed.append((now_s, own))
                self._note(request, own)  # for the second try of the same request it is as good
                self.late += 1
            return []
        before = b"".join(frame for _, frame in self._owed)  # in order: what is owed comes first
        self._owed.clear()
        said = way(own) if own else b""
        self._note(request, said)
        data = before + said
        size = self.chance.choice((256, 256, 11, 3))
        return [data[i : i + size] for i in range(0, len(data), size)]

    def _note(self, request: bytes, said: bytes) -> None:
        """Keep what ``said`` answers to ``request``; a changed frame with a right check is as good as any."""
        _, function, address, count = struct.unpack_from(">BBHH", request)
        size = 5 + 2 * count
        for begin in range(len(said) - 4):
            head = said[begin : begin + 2]
            if said[begin : begin + 3] == bytes([UNIT, 3, 2 * count & 0xFF]) and function == 3:
                frame = said[begin : begin + size]
                if len(frame) == size and crc(frame[:-2]) == frame[-2:]:
                    words = struct.unpack_from(f">{count}H", frame, 3)
                    for place, word in enumerate(words, address):
                        self._known.setdefault(place, set()).add(word)
            self._is_refused = self._is_refused or head == bytes([UNIT, function | 0x80])

    def _as_it_is(self, frame: bytes) -> bytes:
        return frame

    def _changed(self, frame: bytes) -> bytes:
        changed = bytearray(frame)
        for _ in range(self.chance.randint(1, 4)):
            changed[self.chance.randrange(len(changed))] = self.chance.getrandbits(8)
        return framed(bytes(changed[:-2])) if self.chance.random() < 0.3 else bytes(changed)

    def _cut(self, frame: bytes) -> bytes:
        return frame[: self.chance.randrange(len(frame))]

    def _silence(self, _frame: bytes) -> bytes:
        return b""

    def _late(self, _frame: bytes) -> bytes:
        raise NotImplementedError("see _any_answer")

    def _noise(self, _frame: bytes) -> bytes:
        return self.chance.randbytes(self.chance.randrange(1, 64))

    def _noise_before(self, frame: bytes) -> bytes:
        return self._noise(frame) + frame

    def _noise_after(self, frame: bytes) -> bytes:
        return frame + self._noise(frame)

    def _exception(self, frame: bytes) -> bytes:
        code = self.chance.choice([1, 2, 3, 4, 5, 6, 8, 10, 11, self.chance.getrandbits(8)])
        return framed(bytes([frame[0], frame[1] | 0x80, code]))

    def _shorter(self, frame: bytes) -> bytes:
        size = 2 * self.chance.randrange(max(1, (len(frame) - 5) // 2))
        return framed(frame[:2] + bytes([size]) + frame[3 : 3 + size])

    def _of_another_unit(self, frame: bytes) -> bytes:
        return framed(bytes([frame[0] ^ 1]) + frame[1:-2])


if __name__ == "__main__":
    command(
        Fuzzer,
        lambda one, count: run_at_once(one.run(count)),
        lambda one: (
            f"{one.frames:,} requests answered or not, {one.late:,} of them late, {one.connections:,} connections"
        ),
    )
