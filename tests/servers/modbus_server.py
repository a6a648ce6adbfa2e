"""Modbus servers: a device in C on libmodbus, and one that answers whatever a test says."""

import asyncio
import hashlib
import os
import socket
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).with_name("libmodbus_server.c")
_BUILD = Path(__file__).parents[2] / ".build"

UnitTable = tuple[int, int]
"""Unit, and the function code that reads the table."""


@dataclass(frozen=True)
class LibmodbusServer:
    """A running server; ``libmodbus_server.c`` says what its registers hold."""

    port: int
    log: Path

    def requests(self) -> list[tuple[int, int, int, int]]:
        """Return the requests so far: unit, function, address, count."""
        lines = self.log.read_text().splitlines()
        return [(int(a), int(b), int(c), int(d)) for a, b, c, d in map(str.split, lines)]


@contextmanager
def libmodbus_server(
    *,
    registers: Mapping[tuple[int, int, int], bytes] | None = None,
    illegal: Sequence[tuple[int, int, int, int]] = (),
    most: Mapping[int, int] | None = None,
    exceptions: Mapping[int, int] | None = None,
    silent: Sequence[int] = (),
    delays_ms: Mapping[int, int] | None = None,
    stations: Mapping[int, str] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[LibmodbusServer]:
    """Serve on a socket, or on serial lines.

    Args:
        registers: contents by unit, table (3 or 4) and first address.
        illegal: unit, table, first, last: exception 2 for a read that touches them.
        most: by unit: exception 3 for a read of more.
        exceptions: by unit: the exception that every request gets.
        silent: units that never answer.
        delays_ms: by unit: how late its answers come; on TCP the other units wait meanwhile.
        stations: the terminal of each unit that is on a serial line, and not on TCP; see ``modbus_bus``.
        host: the address of the socket.
        port: its port, 0: a free one.
    """
    options = [("rtu", f"{unit}:{path}") for unit, path in (stations or {}).items()]
    options += [("set", f"{u}:{t}:{a}:{body.hex()}") for (u, t, a), body in (registers or {}).items()]
    options += [("illegal", ":".join(map(str, rule))) for rule in illegal]
    options += [("delay", f"{unit}:{ms}") for unit, ms in (delays_ms or {}).items()]
    options += [("silent", str(unit)) for unit in silent]
    options += [("exception", f"{unit}:{code}") for unit, code in (exceptions or {}).items()]
    options.append(("listen", f"{host}:{port}"))
    options += [("most", f"{unit}:{count}") for unit, count in (most or {}).items()]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "requests"
        command = [str(libmodbus_program(_SOURCE)), str(log), *(word for option in options for word in option)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                yield LibmodbusServer(int(process.stdout.readline()), log)
            finally:
                process.stdin.close()


@cache
def libmodbus_program(source: Path) -> Path:
    """Compile a C program on libmodbus, once for each version of its source."""
    binary = _BUILD / f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if not binary.exists():
        _BUILD.mkdir(exist_ok=True)
        unfinished = binary.with_suffix(f".{os.getpid()}")
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libmodbus"], check=True, capture_output=True, text=True
        ).stdout.split()
        command = [
            "gcc",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            str(unfinished),
            str(source),
            *flags,
            "-pthread",
        ]
        subprocess.run(command, check=True)
        unfinished.replace(binary)
    return binary


class Gesture(Enum):
    """What a server does instead of sending bytes."""

    SILENCE = "silence"
    CLOSE = "close"
    RESET = "reset"


Answer = bytes | Gesture
Script = Callable[[bytes, int], Answer]
"""Takes a request (header and all) and its number since the start, from 0."""


@dataclass
class ScriptedServer:
    """A running server that follows a script, and what it was asked."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        """Send without being asked, to every client."""
        for writer in self.writers:
            writer.write(data)


@asynccontextmanager
async def scripted_server(script: Script, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[ScriptedServer]:
    """Serve on ``port``, 0 = a free one; each request is answered as ``script`` says."""
    state = ScriptedServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        state.writers.append(writer)
        try:
            while True:
                header = await reader.readexactly(6)
                request = header + await reader.readexactly(int.from_bytes(header[4:6]))
                state.requests.append(request)
                answer = script(request, len(state.requests) - 1)
                if isinstance(answer, bytes):
                    writer.write(answer)
                elif answer is Gesture.RESET:
                    reset(writer)
                    return
                elif answer is Gesture.CLOSE:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            state.writers.remove(writer)
            writer.close()

    server = await asyncio.start_server(serve, host, port)
    state.port = server.sockets[0].getsockname()[1]
    async with server:
        yield state
        for writer in state.writers:
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Let the peer see a reset: only a lingering time of zero does."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def reply(request: bytes, pdu: bytes, **changes: int) -> bytes:
    """Return the answer to ``request``, with ``transaction``, ``protocol``, ``length`` or ``unit`` falsified."""
    transaction, protocol, _, unit = struct.unpack_from(">HHHB", request)
    honest = {"transaction": transaction, "protocol": protocol, "length": len(pdu) + 1, "unit": unit}
    return struct.pack(">HHHB", *(honest | changes).values()) + pdu


def registers_reply(request: bytes, **changes: int) -> bytes:
    """Return the answer in which each register holds its own address."""
    function, address, count = struct.unpack_from(">BHH", request, 7)
    words = struct.pack(f">{count}H", *range(address, address + count))
    return reply(request, bytes([function, 2 * count]) + words, **changes)
