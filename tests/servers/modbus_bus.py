"""A serial bus without wires: what the client sends reaches the unit that it is for, what a unit sends the client.

Units do not hear what is not for them: libmodbus 3.1 takes the frame after one to another unit for that one's
answer, so how many requests it loses would depend on when its threads run.
"""

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
        stations: where each unit opens it, by its number.
    """

    client: str
    port: int
    stations: Mapping[int, str]


@contextmanager
def bus(
    units: Sequence[int] = (1,), damage: Damage = lambda frame: frame, *, over_tcp: bool = False
) -> Iterator[Bus]:
    """Carry frames, in the running loop, until the block ends; each is damaged on its way, once.

    Args:
        units: for which it has a place; a single one gets everything.
        damage: what happens to frames, whoever sends them.
        over_tcp: the client's end is a gateway that passes bytes on as they are, not a terminal.
    """
    with ExitStack() as stack:
        stations = {unit: stack.enter_context(terminal()) for unit in units}
        paths = {unit: station.path for unit, station in stations.items()}
        carrier = _Carrier({unit: station.near for unit, station in stations.items()}, damage, stack)
        if over_tcp:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            carrier.listen(listener)
            yield Bus("", listener.getsockname()[1], paths)
        else:
            client = stack.enter_context(terminal())
            carrier.connect(client.near)
            yield Bus(client.path, 0, paths)


class _Carrier:
    """Takes frames from one end to the other."""

    def __init__(self, stations: Mapping[int, int], damage: Damage, stack: ExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        self._stations = stations
        self._damage = damage
        self._stack = stack
        self._clients: list[int] = []
        for station in stations.values():
            self._watch(station, lambda _frame: self._clients)

    def connect(self, client: int) -> None:
        self._clients[:] = [client]
        self._watch(client, self._addressed)

    def listen(self, listener: socket.socket) -> None:
        self._loop.add_reader(listener, lambda: self.connect(self._accept(listener).fileno()))
        self._stack.callback(self._loop.remove_reader, listener)

    def _accept(self, listener: socket.socket) -> socket.socket:
        return self._stack.enter_context(listener.accept()[0])

    def _addressed(self, frame: bytes) -> list[int]:
        if len(self._stations) == 1:
            return list(self._stations.values())
        return [near for unit, near in self._stations.items() if unit == frame[0]]

    def _watch(self, source: int, targets_of: Callable[[bytes], list[int]]) -> None:
        self._loop.add_reader(source, self._carry, source, targets_of)
        self._stack.callback(self._loop.remove_reader, source)

    def _carry(self, source: int, targets_of: Callable[[bytes], list[int]]) -> None:
        try:
            frame = os.read(source, _CHUNK_BYTES)
        except ConnectionError:
            frame = b""
        if not frame:  # only a socket ends
            self._loop.remove_reader(source)
            self._clients.remove(source)
        elif damaged := self._damage(frame):
            for target in targets_of(damaged):
                os.write(target, damaged)


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
        line = stack.enter_context(bus(units, damage, over_tcp=over_tcp))
        server = stack.enter_context(libmodbus_server(stations=line.stations, **options))
        gateway = {"host": "127.0.0.1", "port": line.port, "transport": "rtu_over_tcp"}
        serial = {"serial": {"port": line.client, "parity": "none"}}
        yield LibmodbusLine(gateway if over_tcp else serial, server)
