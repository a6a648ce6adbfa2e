"""Connects to a device: which of its addresses, from which of our networks, with TLS or without."""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from edge_agent.errors import DeviceUnavailableError
from edge_agent_modbus.tls import TlsModel, explain, load_context

_WHY = {
    errno.ECONNREFUSED: "nothing listens there; check port: and that the device's Modbus server is switched on",
    errno.EHOSTUNREACH: "no way to it; check host:, cable, power and the gateway's own network",
    errno.ENETUNREACH: "no way to it; check host: and the gateway's own address and routes",
    errno.ETIMEDOUT: "no answer; check host:, cable, power and firewalls",
    errno.ECONNRESET: "it resets connections; it may allow a few clients only, or only known addresses",
}

# A peer that vanished without a word is noticed by the kernel, whoever of the units behind it is asked meanwhile.
_USER_TIMEOUT_MS = 10_000  # sent, and not acknowledged by the peer's TCP
_KEEP_ALIVE_IDLE_S = 10
_KEEP_ALIVE_INTERVAL_S = 3
_KEEP_ALIVE_PROBES = 3


@dataclass(frozen=True, slots=True)
class Route:
    """Where a device is, and how to get there.

    Attributes:
        hosts: its addresses, of which one is used at a time.
        source_address: our own address to speak from; empty: the system chooses.
        interface: our own network interface to speak through; empty: the system chooses.
        tls: None: without.
        checks_name: whether the certificate must be for the host.
        attempt_s: the longest time for one of several hosts.
    """

    hosts: Sequence[str]
    port: int
    source_address: str = ""
    interface: str = ""
    tls: TlsModel | None = None
    checks_name: bool = True
    attempt_s: float = 1.0


class Dialed(asyncio.BaseProtocol):
    """What is connected.

    Attributes:
        has_answered: whether the device ever answered a request.
        certificate_end_ns: until when the certificate that it showed is valid, UTC; 0: it showed none.
    """

    has_answered = False
    certificate_end_ns = 0

    @property
    def places(self) -> int:
        """One exchange at a time; see ``Transport``."""
        return 1

    @property
    def given_up(self) -> str:
        """See ``Transport``."""
        return ""

    def pardon(self, _unit: int) -> None:
        """Nothing was concluded; see ``Transport``."""


D = TypeVar("D", bound=Dialed)


class Dialer:
    """Connects to the first host that takes it, and begins with that one the next time.

    One that took a connection and never answered over it comes last the next time.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._first = 0
        self._last: Dialed | None = None

    async def connect(self, make: Callable[[str], D], kind: socket.SocketKind = socket.SOCK_STREAM) -> D:
        """Connect what ``make`` makes of the peer's name; leaves nothing open when cancelled.

        Raises:
            DeviceUnavailableError: no connection; the message says what to check.
        """
        hosts = self._route.hosts
        if self._last is not None and not self._last.has_answered:
            self._first += 1
        failures: list[str] = []
        for number in range(self._first, self._first + len(hosts)):
            host = hosts[number % len(hosts)]
            is_last = len(failures) == len(hosts) - 1  # it may take what is left of the agent's time-out
            try:
                async with asyncio.timeout(None if is_last else self._route.attempt_s):
                    dialed = await self._connect(host, make, kind)
            except TimeoutError:
                peer = peer_name(host, self._route.port)
                failures.append(f"{peer}: no connection within {self._route.attempt_s:g} s")
            except DeviceUnavailableError as exc:
                failures.append(str(exc))
            else:
                self._first, self._last = number % len(hosts), dialed
                return dialed
        self._last = None
        raise DeviceUnavailableError("; ".join(failures))

    async def _connect(self, host: str, make: Callable[[str], D], kind: socket.SocketKind) -> D:
        route, loop = self._route, asyncio.get_running_loop()
        peer = peer_name(host, route.port)
        context = None
        if route.tls is not None:
            context = await asyncio.to_thread(load_context, route.tls, checks_name=route.checks_name)
        try:
            sock = await open_socket(route, host, kind)
            if kind == socket.SOCK_DGRAM:
                return (await loop.create_datagram_endpoint(lambda: make(peer), sock=sock))[1]
            name = None if route.tls is None else route.tls.server_name or host
            _, dialed = await loop.create_connection(
                lambda: make(peer), sock=sock, ssl=context, server_hostname=name
            )
        except ssl.SSLError as exc:
            raise DeviceUnavailableError(f"{peer}: {explain(exc)}") from exc
        except OSError as exc:
            why = _WHY.get(exc.errno or 0, f"{exc}; check host:, port:, cable and power")
            if context is not None and isinstance(exc, ConnectionResetError):
                why = "it broke off the TLS handshake; check port: (802 is usual) and whether it trusts us"
            raise DeviceUnavailableError(f"{peer}: {why}") from exc
        return dialed


async def open_socket(route: Route, host: str, kind: socket.SocketKind) -> socket.socket:
    """Return a socket that is connected to the first address of ``host`` that takes it.

    Raises:
        OSError: none does.
        DeviceUnavailableError: the name has no address, or what was asked of our side cannot be.
    """
    loop = asyncio.get_running_loop()
    peer = peer_name(host, route.port)
    try:
        found = await loop.getaddrinfo(host, route.port, type=kind)
    except (socket.gaierror, UnicodeError) as exc:
        raise DeviceUnavailableError(f"{peer}: the name has no address ({exc}); check host: and DNS") from exc
    if route.source_address:
        wanted = socket.AF_INET6 if ":" in route.source_address else socket.AF_INET
        found = [one for one in found if one[0] == wanted]
        if not found:
            why = f"source_address: {route.source_address} is of another IP version than {host}"
            raise DeviceUnavailableError(f"{peer}: {why}")
    error = OSError("no address")
    for family, type_, protocol, _, address in found:
        with ExitStack() as stack:
            sock = socket.socket(family, type_, protocol)
            stack.callback(sock.close)
            sock.setblocking(False)  # noqa: FBT003 - as the library has it
            bind(sock, route)
            try:
                await loop.sock_connect(sock, address)
            except OSError as exc:
                error = exc
                continue
            stack.pop_all()
            return sock
    raise error


def bind(sock: socket.socket, route: Route) -> None:
    """Let ``sock`` speak from where ``route`` says.

    Raises:
        DeviceUnavailableError: there is no such place, or it may not; the message says what to do.
    """
    try:
        if route.interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, route.interface.encode() + b"\0")
        if route.source_address:
            sock.bind((route.source_address, 0))
    except OSError as exc:
        why = {
            errno.ENODEV: f"interface: {route.interface} is not there; there are "
            + ", ".join(name for _, name in socket.if_nameindex()),
            errno.EPERM: f"interface: {route.interface} may not be chosen; it takes Linux 5.7 or CAP_NET_RAW",
            errno.EADDRNOTAVAIL: f"source_address: {route.source_address} is no address of this machine",
        }.get(exc.errno or 0)
        raise DeviceUnavailableError(why or f"source_address: or interface: cannot be used ({exc})") from exc


def notice_loss(sock: socket.socket) -> None:
    """Let the kernel end a connection whose peer vanished without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_ALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


def peer_name(host: str, port: int) -> str:
    """Return ``host:port`` for keys and messages, the same for each way to write an address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{host.lower()}:{port}"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"  # noqa: PLR2004 - IPv6
