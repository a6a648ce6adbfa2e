"""The way to a device: what every wire gives, and which wire a configuration asks for."""

import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

from edge_agent.driver import Shared
from edge_agent.model.quantity import format_duration
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.dialer import Dialer, peer_name
from edge_agent_modbus.owed import Debts

if TYPE_CHECKING:
    from edge_agent_modbus.rtu import RtuTransport


class Transport(Protocol):
    """One open wire: takes requests to units and gives their answers back.

    Attributes:
        peer: the far end, for messages.
        lost: why it is of no use any more; None while it is.
        discarded: answers that came late, or that nobody asked for.
        certificate_end_ns: until when the certificate that the peer showed is valid, UTC; 0: it showed none.
        places: how many exchanges may be under way now.
        given_up: why that is one for good although more were asked for; empty if it is not.
    """

    peer: str
    lost: str | None
    discarded: int
    certificate_end_ns: int

    @property
    def places(self) -> int: ...

    @property
    def given_up(self) -> str: ...

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        """Send a request and return the PDU of its answer, which nobody has looked into yet.

        A second try on a noisy wire is for requests that only read (``pdu.repeats_safely``).

        Raises:
            ExchangeError: this exchange gave nothing; the transport may be used again.
            DeviceUnavailableError: the transport is, or was meanwhile, lost.

        On cancellation the exchange is void: its answer is discarded when it comes.
        """
        ...

    def pardon(self, unit: int, /) -> None:
        """Conclude nothing from an exchange with ``unit`` that was cancelled just now: it was somebody else's."""
        ...

    def close(self) -> None:
        """Drop the wire at once; silent when called twice."""
        ...


@dataclass(frozen=True, slots=True)
class Wire:
    """Where a device is reached.

    Attributes:
        key: of the line; devices with the same key share it.
        open: opens the transport; raises ``DeviceUnavailableError``; leaves nothing behind when cancelled.
    """

    key: str
    open: Callable[[], Awaitable[Transport]]


@cache  # so that only the check of the configuration asks for files, and not the loop
def _real_port(path: str) -> str:
    """Return the one name of a port; those in /dev/serial are links."""
    return os.path.realpath(path)


def shared_by(config: ModbusDevice) -> tuple[Shared, ...]:
    """Return the line of a device, and what all devices on it must have in common."""
    serial = config.serial
    settings: dict[str, str] = {"transport": config.kind}
    if config.kind not in {"tcp", "tls"}:
        settings |= {"timeout": format_duration(config.timeout)}
    if config.kind not in {"tcp", "tls", "udp"}:
        settings |= {"pause": format_duration(config.pause)}
    if serial is None:
        route, tls = config.route, config.tls
        settings |= {
            "hosts": ", ".join(peer_name(host, route.port) for host in route.hosts),
            "source_address": route.source_address or "none",
            "interface": route.interface or "none",
            "max_in_flight": str(config.max_in_flight),
            "insecure_server_name": str(config.insecure_server_name).lower(),
        }
        settings |= {} if tls is None else {f"tls.{key}": str(value) for key, value in tls}
        return tuple(Shared(peer_name(host, route.port), settings) for host in route.hosts)
    settings |= {f"serial.{key}": str(value) for key, value in serial if key not in {"port", "data_bits"}}
    settings["serial.data_bits"] = str(serial.bits)
    return (Shared(_real_port(serial.port), settings),)


def wire_of(config: ModbusDevice, state: MutableMapping[str, str] | None = None) -> Wire:
    """Return the wire that a device asks for; what it needs is imported now, and nothing else.

    Args:
        config: of any of the devices on it.
        state: where it is kept what is learned of the wire.
    """
    # ruff: noqa: PLC0415 - each wire is imported only where it is used
    answer_s = config.timeout / 2  # the other half is for the second try
    debts = Debts()  # a line is always opened by the same one of its devices
    serial = config.serial
    if serial is not None:
        from edge_agent_modbus.rtu import open_serial

        framed = _framed(config)
        port = _real_port(serial.port)
        return Wire(f"serial://{port}", lambda: open_serial(serial, config.silence_s, answer_s, debts, framed))
    dialer = Dialer(config.route)
    peer = ",".join(peer_name(host, config.route.port) for host in config.route.hosts)
    key = f"{config.kind}://{peer}"
    if config.kind in {"rtu_over_tcp", "ascii_over_tcp"}:
        framed = _framed(config)
        return Wire(key, lambda: dialer.connect(lambda name: framed(name, config.silence_s, answer_s, debts)))
    if config.kind == "udp":
        from edge_agent_modbus.udp import UdpTransport

        return Wire(key, lambda: dialer.connect(lambda name: UdpTransport(name, answer_s), socket.SOCK_DGRAM))
    from edge_agent_modbus.tcp import TcpTransport
    from edge_agent_modbus.window import Window

    window = Window(config.max_in_flight, {} if state is None else state)
    return Wire(key, lambda: dialer.connect(lambda name: TcpTransport(name, window)))


def _framed(config: ModbusDevice) -> "type[RtuTransport]":
    """Return the transport of frames that have no number."""
    # ruff: noqa: PLC0415 - each wire is imported only where it is used
    if config.kind in {"ascii", "ascii_over_tcp"}:
        from edge_agent_modbus.ascii import AsciiTransport

        return AsciiTransport
    from edge_agent_modbus.rtu import RtuTransport

    return RtuTransport
