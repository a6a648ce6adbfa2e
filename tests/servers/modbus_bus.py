"""A serial bus without wires: what the client sends reaches every unit, what a unit sends reaches the client."""

import asyncio
import os
import socket
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.servers.modbus_server import LibmodbusServer, libmodbus_server

Damage = Callable[[bytes], bytes]
"""Says what becomes of a frame on its way; nothing: it is lost."""

_CHUNK_BYTES = 4096


@dataclass(frozen=True)
class Terminal:
    """A pseudo-terminal: a program opens ``path``; the test has the other end."""

    near: int
    path: str


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Open one; it stays while nobody has the path open."""
    near, far = os.openpty()
    try:
        tty.setraw(far)
        os.set_blocking(near, False)
        yield Terminal(near, os.ttyname(far))
    finally:
        os.close(near)
        os.close(far)


@dataclass(frozen=True)
class Bus:
    """A running bus.

    Attributes:
        client: where the client opens it; empty over TCP.
        port: where it connects over TCP.
        stations: where each unit opens it.
    """

    client: str
    port: int
    stations: Sequence[str]


@contextmanager
def bus(station_count: int, damage: Damage = lambda frame: frame, *, over_tcp: bool = False) -> Iterator[Bus]:
    """Carry frames, in the running loop, until the block ends; each is damaged on its way, once.

    Args:
        station_count: how many units it has a place for.
        damage: what happens to frames, whoever sends them.
        over_tcp: the client's end is a gateway that passes bytes on as they are, not a terminal.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        stations = [stack.enter_context(terminal()) for _ in range(station_count)]
        clients: list[int] = []

        def carry(source: int, targets: Sequence[int]) -> None:
            try:
                frame = os.read(source, _CHUNK_BYTES)
            except ConnectionError:
                frame = b""
            if not frame:  # only a socket ends
                loop.remove_reader(source)
                clients.remove(source)
            elif damaged := damage(frame):
                for target in targets:
                    os.write(target, damaged)

        def watch(source: int, targets: Sequence[int]) -> None:
            loop.add_reader(source, carry, source, targets)
            stack.callback(loop.remove_reader, source)

        def accept(listener: socket.socket) -> None:
            client = stack.enter_context(listener.accept()[0])
            clients[:] = [client.fileno()]
            watch(client.fileno(), [station.near for station in stations])

        for station in stations:
            watch(station.near, clients)
        if over_tcp:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            loop.add_reader(listener, accept, listener)
            stack.callback(loop.remove_reader, listener)
            yield Bus("", listener.getsockname()[1], [station.path for station in stations])
        else:
            client = stack.enter_context(terminal())
            clients.append(client.near)
            watch(client.near, [station.near for station in stations])
            yield Bus(client.path, 0, [station.path for station in stations])


@dataclass(frozen=True)
class LibmodbusLine:
    """Units in C on one line.

    Attributes:
        keys: of the configuration of a device there.
    """

    keys: Mapping[str, Any]
    server: LibmodbusServer


@contextmanager
def libmodbus_line(
    units: Sequence[int] = (1,),
    damage: Damage = lambda frame: frame,
    *,
    over_tcp: bool = False,
    **options: Any,
) -> Iterator[LibmodbusLine]:
    """Serve ``units`` on a bus of their own; ``options`` are those of ``libmodbus_server``."""
    with ExitStack() as stack:
        line = stack.enter_context(bus(len(units), damage, over_tcp=over_tcp))
        stations = dict(zip(units, line.stations, strict=True))
        server = stack.enter_context(libmodbus_server(stations=stations, **options))
        gateway = {"host": "127.0.0.1", "port": line.port, "transport": "rtu_over_tcp"}
        serial = {"serial": {"port": line.client, "parity": "none"}}
        yield LibmodbusLine(gateway if over_tcp else serial, server)
