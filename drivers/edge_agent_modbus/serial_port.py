"""A serial port in the event loop: its settings, and bytes to and from an ``asyncio.Protocol``."""

import asyncio
import errno
import os
import termios
from typing import Literal, Protocol

from pydantic import Field

from edge_agent.driver import StrictModel
from edge_agent.errors import DeviceUnavailableError

_CHUNK_BYTES = 4096
_WHY = {
    errno.ENOENT: "is not there; check the adapter and port: (/dev/serial/by-id/ has names that stay)",
    errno.EACCES: "may not be opened; add the agent's user to the group dialout",
    errno.EPERM: "may not be opened; add the agent's user to the group dialout",
    errno.EBUSY: "is in use by another program",
    errno.EAGAIN: "is in use by another program",  # it holds the lock of the file
}


class SerialModel(StrictModel):
    """A serial port and how characters are sent over it."""

    port: str = Field(min_length=1, description="The port, best by a name that stays: /dev/serial/by-id/….")
    baud_rate: int = Field(default=19200, ge=300, le=4_000_000, description="Bits per second.")
    data_bits: Literal[7, 8] | None = Field(
        default=None, description="RTU has 8; for ASCII, 7 as the standard has it, or 8: write which."
    )
    parity: Literal["even", "odd", "none"] = Field(
        default="even", description="even is the standard's; with none the standard has two stop bits."
    )
    stop_bits: Literal[1, 2] = Field(default=1, description="Stop bits.")

    @property
    def bits(self) -> int:
        """Data bits."""
        return self.data_bits or 8

    @property
    def character_bits(self) -> int:
        """Start, data, parity and stop bits."""
        return 1 + self.bits + (self.parity != "none") + self.stop_bits


class _Port(Protocol):
    """What is used of ``serial.Serial``."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class SerialTransport(asyncio.Transport):
    """Joins an open port to a protocol. A frame that the port does not take at once is lost with the line."""

    def __init__(self, port: _Port, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._port: _Port | None = port
        self._file = port.fileno()
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._read)
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._port is None:
            return
        try:
            written = os.write(self._file, data)
        except OSError as exc:
            self._end(exc)
        else:
            if written < len(data):
                self._end(BlockingIOError("the port takes no more bytes"))

    def abort(self) -> None:
        self._end(None)

    def close(self) -> None:
        self._end(None)

    def _read(self) -> None:
        try:
            data = os.read(self._file, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(exc)
            return
        if data:
            self._protocol.data_received(data)
        else:  # an adapter that was pulled out reads as an end of file
            self._end(ConnectionError("the adapter is gone"))

    def _end(self, error: Exception | None) -> None:
        port, self._port = self._port, None
        if port is not None:
            self._loop.remove_reader(self._file)
            port.close()
            self._loop.call_soon(self._protocol.connection_lost, error)


def open_port(settings: SerialModel, protocol: asyncio.Protocol) -> None:
    """Open the port for this process alone, and join it to ``protocol``. Does not wait.

    Raises:
        DeviceUnavailableError: it cannot be opened; the message says what to do.
    """
    try:
        try:
            port = _open(settings, settings.bits, settings.parity)
        except termios.error:
            if not _is_pseudo(settings.port):
                raise
            port = _open(settings, 8, "none")  # a pseudo-terminal has no other; glibc says so at every second time
    except (OSError, ValueError, termios.error) as exc:  # SerialException is an OSError
        number = exc.errno if isinstance(exc, OSError) else None
        why = _WHY.get(number or 0, f"cannot be opened ({exc}); check serial:")
        raise DeviceUnavailableError(f"{settings.port} {why}") from exc
    SerialTransport(port, protocol)


def _is_pseudo(path: str) -> bool:
    file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return os.ttyname(file).startswith("/dev/pts/")
    finally:
        os.close(file)


def _open(settings: SerialModel, bits: int, parity: Literal["even", "odd", "none"]) -> _Port:
    import serial  # noqa: PLC0415 - for those who have a serial line

    port: _Port = serial.Serial(
        settings.port,
        settings.baud_rate,
        bits,
        {"even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD, "none": serial.PARITY_NONE}[parity],
        settings.stop_bits,
        timeout=0,
        exclusive=True,
    )
    return port
