"""One client and the units that it can reach, one request after the other."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent_modbus.simulator.faults import Drop, Late, Reboot
from edge_agent_modbus.simulator.framing import Framing
from edge_agent_modbus.simulator.unit import Unit


class Writer(Protocol):
    """What is used of ``asyncio.StreamWriter``."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


async def converse(
    reader: asyncio.StreamReader,
    writer: Writer,
    framing: Framing,
    units: Mapping[int, Unit],
    clock: Clock,
    line_s: Callable[[int], float] = lambda _size: 0.0,
) -> Drop | Reboot:
    """Answer until a fault ends that, and return it.

    ``line_s`` gives the time on the wire by the bytes of request and answer.

    Raises:
        asyncio.IncompleteReadError: the client is gone.
        ConnectionError: ditto.
    """
    kept = b""
    while True:
        asked = await framing.receive(reader)
        unit = units.get(asked.unit)
        answer = framing.nobody(asked) if unit is None else unit.answer(asked.pdu)
        frame = framing.frame(asked, answer)
        await clock.sleep(answer.delay_s + line_s(asked.size_bytes + len(frame)))
        match answer.fault:
            case Drop() | Reboot():
                return answer.fault
            case Late():
                writer.write(kept)
                kept = frame
            case _:
                writer.write(kept + frame)
                kept = b""
        await writer.drain()
