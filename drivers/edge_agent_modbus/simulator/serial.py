"""A serial line as a pseudo-terminal: a program opens it by the name that is printed, as it would a port."""

import asyncio
import os
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from edge_agent.errors import SimulationError
from edge_agent.simulating import Simulation
from edge_agent_modbus.serial_port import SerialModel
from edge_agent_modbus.simulator.conversation import converse
from edge_agent_modbus.simulator.faults import Reboot
from edge_agent_modbus.simulator.framing import Framing
from edge_agent_modbus.simulator.unit import Unit

_CHUNK_BYTES = 4096


class SerialLine:
    """One line and the units on it. Answers take as long as the line's baud rate says."""

    def __init__(
        self,
        settings: SerialModel,
        framing: Callable[[], Framing],
        units: Sequence[Unit],
        simulation: Simulation,
    ) -> None:
        self._settings = settings
        self._framing = framing
        self._units = {unit.number: unit for unit in units}
        self._simulation = simulation
        self._is_on = True
        self._link: Path | None = None
        self._near = self._far = -1

    def open(self) -> str:
        """Make the terminal; return the name to open it by. Asks for files.

        A configured name that is free becomes a link to it; names in /dev are left to the system.

        Raises:
            SimulationError: something else has the name, or it cannot be made; the message says what to do.
        """
        self._near, self._far = os.openpty()
        tty.setraw(self._far)  # stays open, or the near end reads an error while nobody is there
        os.set_blocking(self._near, False)
        name = os.ttyname(self._far)
        link = Path(self._settings.port)
        if link.is_relative_to("/dev"):
            return name
        if link.is_symlink() and (not link.exists() or link.resolve().is_relative_to("/dev/pts")):
            link.unlink()  # left by a simulation that was killed
        try:
            link.symlink_to(name)
        except OSError as exc:
            why = "is something else" if isinstance(exc, FileExistsError) else f"cannot be made ({exc.strerror})"
            raise SimulationError(f"{link} {why}: give port: a name that is free") from exc
        self._link = link
        return str(link)

    async def serve(self, listens: Callable[[], None]) -> None:
        """Answer until cancelled; ``listens`` is called when it begins to."""
        loop = asyncio.get_running_loop()
        clock = self._simulation.clock
        reader = asyncio.StreamReader()
        loop.add_reader(self._near, self._receive, reader)
        listens()
        try:
            while True:
                fault = await converse(reader, self, self._framing(), self._units, clock, self._line_s)
                if isinstance(fault, Reboot):
                    self._is_on = False
                    await clock.sleep(fault.down)
                    for unit in self._units.values():
                        unit.switch_on()
                    self._is_on = True
        finally:
            loop.remove_reader(self._near)

    def close(self) -> None:
        """Take the terminal away, and the link. Silent when it was never made."""
        if self._link is not None:
            with suppress(OSError):
                self._link.unlink()
        for end in (self._near, self._far):
            if end >= 0:
                os.close(end)
        self._link, self._near, self._far = None, -1, -1

    def write(self, data: bytes) -> None:
        """Send an answer; what nobody reads is lost, as on a wire."""
        with suppress(BlockingIOError):
            os.write(self._near, data)

    async def drain(self) -> None:
        pass

    def _receive(self, reader: asyncio.StreamReader) -> None:
        data = os.read(self._near, _CHUNK_BYTES)
        if self._is_on:
            reader.feed_data(data)

    def _line_s(self, size_bytes: int) -> float:
        return size_bytes * self._settings.character_bits / self._settings.baud_rate
