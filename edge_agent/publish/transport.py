"""From a server's address to a connected socket, TLS done, without a thread and without blocking the loop.

The only threads are the executor's: one for the name (getaddrinfo) and one for certificate files. A cancellation
closes the socket; a name that is being resolved finishes in the executor and is forgotten.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from edge_agent.errors import BrokerUnavailableError
from edge_agent.publish.options import ServerOptions, TlsOptions

Address = tuple[Any, ...]


async def open_socket(server: ServerOptions, tls: TlsOptions, *, timeout_s: float) -> socket.socket:
    """Return a non-blocking socket, connected to ``server`` and past the TLS handshake if it uses TLS.

    The addresses of a name are tried in order; each gets its share of ``timeout_s``.

    Raises:
        BrokerUnavailableError: the name is unknown, nobody answers, or TLS failed; says which and what to check.
    """
    context = await asyncio.to_thread(load_context, tls) if server.use_tls else None
    addresses = await _resolve(server)
    failure = BrokerUnavailableError(f"{server.host!r} has no address")
    for family, address in addresses:
        try:
            async with asyncio.timeout(timeout_s / len(addresses)):
                return await _connect(server, family, address, context)
        except (OSError, TimeoutError) as exc:
            failure = BrokerUnavailableError(_explain(exc, server))
            failure.__cause__ = exc
    raise failure


async def _resolve(server: ServerOptions) -> list[tuple[int, Address]]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise BrokerUnavailableError(f"cannot resolve {server.host!r}: check the name and DNS") from exc
    return [(family, address) for family, _, _, _, address in found]


async def _connect(
    server: ServerOptions, family: int, address: Address, context: ssl.SSLContext | None
) -> socket.socket:
    loop = asyncio.get_running_loop()
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        await loop.sock_connect(sock, address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            # From here on the TLS socket owns the descriptor.
            sock = context.wrap_socket(sock, server_hostname=server.host, do_handshake_on_connect=False)
            await _handshake(sock)
    except BaseException:
        sock.close()
        raise
    return sock


async def _handshake(sock: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await _ready(sock, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _ready(sock, loop.add_writer, loop.remove_writer)
        else:
            return


async def _ready(sock: socket.socket, add: Callable[..., object], remove: Callable[[int], object]) -> None:
    ready = asyncio.get_running_loop().create_future()
    descriptor = sock.fileno()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(descriptor, wake)
    try:
        await ready
    finally:
        remove(descriptor)


def load_context(tls: TlsOptions) -> ssl.SSLContext:
    """Return what a connection needs of the disk. Blocks: call it on a thread.

    Raises:
        BrokerUnavailableError: a file is missing, is not what it should be, or key and certificate do not fit.
    """
    try:
        return _load_context(tls)
    except (OSError, ValueError) as exc:
        files = ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path is not None)
        raise BrokerUnavailableError(f"cannot use the TLS files ({files}): {exc}") from exc


def _load_context(tls: TlsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def _explain(exc: BaseException, server: ServerOptions) -> str:
    where = f"{server.host}:{server.port}"
    match exc:
        case ssl.SSLCertVerificationError():
            return f"{where} is not trusted: {exc.verify_message}; check tls.ca, the host name and the clock"
        case ssl.SSLError():
            return f"TLS with {where} failed: {exc.reason or exc}; is it a TLS port? check tls.certificate"
        case TimeoutError():
            return f"{where} does not answer: check the address, the network and the firewall"
        case ConnectionRefusedError():
            return f"{where} refused the connection: is the broker running, is the port right?"
        case _:
            return f"cannot reach {where}: {exc.strerror or exc}" if isinstance(exc, OSError) else str(exc)
