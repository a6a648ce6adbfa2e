"""Simulated units behind one TCP address: raw bytes, so that they can be wrong.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b §3.1.3.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress

from edge_agent.errors import SimulationError
from edge_agent.simulating import Simulation, SimulationEventKind
from edge_agent_modbus.simulator.conversation import converse
from edge_agent_modbus.simulator.faults import Drop, Reboot
from edge_agent_modbus.simulator.framing import Framing
from edge_agent_modbus.simulator.unit import Unit

_WAY_OUT = {
    errno.EADDRINUSE: "is in use: end the program that has it (ss -ltnp shows which), or add --port-base 5020",
    errno.EACCES: "needs root: add --port-base 5020",
    errno.EADDRNOTAVAIL: "is no address of this computer: leave --host out, or name one of its own",
}


class TcpAddress:
    """One listening socket and the units that answer there."""

    def __init__(
        self, host: str, port: int, framing: Callable[[], Framing], units: Sequence[Unit], simulation: Simulation
    ) -> None:
        self._host, self._port = host, port
        self._framing = framing
        self._units = {unit.number: unit for unit in units}
        self._simulation = simulation
        self._writers: set[asyncio.StreamWriter] = set()
        self._reboot: asyncio.Future[float] | None = None

    async def open(self) -> asyncio.Server:
        """Take the address, without listening yet.

        Raises:
            SimulationError: the address cannot be had; the message says what to do.
        """
        try:
            return await asyncio.start_server(self._meet, self._host, self._port, start_serving=False)
        except OSError as exc:
            place = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
            raise SimulationError(f"{place} {_WAY_OUT.get(exc.errno or 0, f'cannot be had: {exc}')}") from exc

    async def serve(self, server: asyncio.Server, listens: Callable[[], None]) -> None:
        """Answer until cancelled, dropping every connection; ``listens`` is called whenever it begins to."""
        loop = asyncio.get_running_loop()
        self._host, self._port = server.sockets[0].getsockname()[:2]  # a reboot comes back to the same one
        async with asyncio.TaskGroup() as self._group:
            try:
                while True:
                    self._reboot = loop.create_future()
                    await server.start_serving()
                    listens()
                    down_s = await self._reboot
                    self._close(server)
                    await self._simulation.clock.sleep(down_s)
                    for unit in self._units.values():
                        unit.switch_on()
                    server = await self.open()
            finally:
                self._close(server)

    def _close(self, server: asyncio.Server) -> None:
        server.close()
        for writer in self._writers:
            writer.transport.abort()

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._group.create_task(self._converse(reader, writer), name=f"simulated:{self._port}")

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = "{}:{}".format(*writer.get_extra_info("peername")[:2])
        self._tell(SimulationEventKind.CONNECTED, peer)
        self._writers.add(writer)
        try:
            match await converse(reader, writer, self._framing(), self._units, self._simulation.clock):
                case Drop(reset=True):
                    _reset(writer)
                case Reboot(down=down_s):
                    if self._reboot is not None and not self._reboot.done():
                        self._reboot.set_result(down_s)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            self._tell(SimulationEventKind.DISCONNECTED, peer)

    def _tell(self, kind: SimulationEventKind, detail: str) -> None:
        for unit in self._units.values():
            unit.tell(kind, detail)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # it is gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
