"""RTU units at the far end of a pseudo-terminal: each register holds its own address plus 1000 per unit."""

import asyncio
import os
import random
import struct
import tty
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from edge_agent_modbus.rtu import crc


@dataclass
class Line:
    """What a test sees of the far end."""

    path: str
    requests: list[bytes] = field(default_factory=list)


def value(unit: int, address: int, function: int = 3) -> int:
    return (1000 * unit + address + 30000 * (function == 4)) % 65536


@asynccontextmanager
async def rtu_line(
    delay_s: Callable[[bytes], float | None] = lambda _: 0.0,
    damage: Callable[[bytes], bytes] = lambda frame: frame,
    *,
    knows: Container[int] = (3, 4, 8),
    refuses: Container[int] = (1, 2, 0x2B),
    has_echo: bool = False,
) -> AsyncIterator[Line]:
    """Serve all units, one request after the other.

    Args:
        delay_s: how late the answer is; None: silence.
        damage: what becomes of the answer on its way.
        knows: functions that are answered.
        refuses: functions that get exception 1; the others get no answer.
        has_echo: the adapter hands back what it sends.
    """
    near, far = os.openpty()
    tty.setraw(far)
    os.set_blocking(near, False)
    line = Line(os.ttyname(far))
    os.close(far)
    keeper = os.open(line.path, os.O_RDWR | os.O_NOCTTY)  # or the near end reads an error while nobody is there
    tty.setraw(keeper)
    loop = asyncio.get_running_loop()
    asked = asyncio.Queue[bytes]()
    buffer = bytearray()

    def receive() -> None:
        buffer.extend(os.read(near, 4096))
        while len(buffer) >= (size := 7 if buffer[1:2] == b"\x2b" else 8):
            asked.put_nowait(bytes(buffer[:size]))
            del buffer[:size]

    async def serve() -> None:
        while True:
            request = await asked.get()
            line.requests.append(request)
            if has_echo:
                os.write(near, request)
            assert crc(request[:-2]) == request[-2:]
            wait_s = delay_s(request)
            if wait_s is None:
                continue
            await asyncio.sleep(wait_s)
            unit, function, address, count = struct.unpack_from(">BBHH", request)
            if function in refuses:
                answer = bytes([unit, function | 0x80, 1])
            elif function not in knows:
                continue
            elif function in {6, 8}:
                answer = request[:-2]
            else:
                words = [value(unit, place, function) for place in range(address, address + count)]
                answer = bytes([unit, function, 2 * count]) + struct.pack(f">{count}H", *words)
            os.write(near, damage(answer + crc(answer)))

    loop.add_reader(near, receive)
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(serve())
            yield line
            task.cancel()
    finally:
        loop.remove_reader(near)
        os.close(near)
        os.close(keeper)


def garbled(chance: random.Random, rate: float) -> Callable[[bytes], bytes]:
    """Return what turns one bit in ``rate`` of the frames, and drops as many."""

    def damage(frame: bytes) -> bytes:
        kind = chance.random()
        if kind < rate:
            return b""
        if kind < 2 * rate:
            place = chance.randrange(len(frame))
            return frame[:place] + bytes([frame[place] ^ 1 << chance.randrange(8)]) + frame[place + 1 :]
        return frame

    return damage
