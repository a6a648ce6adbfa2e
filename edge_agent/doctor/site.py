"""What the configuration depends on: serial ports, certificates, brokers, the port of the pages."""

import asyncio
import os
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from pydantic import BaseModel

from edge_agent import __version__
from edge_agent.certificates import certificates_in
from edge_agent.collect.expiry import WARN_DAYS
from edge_agent.config import AgentOptions
from edge_agent.doctor.finding import Finding, fail, ok, warn
from edge_agent.errors import BrokerUnavailableError, IdentifierError
from edge_agent.identify.template import fill
from edge_agent.ops.options import OpsOptions
from edge_agent.publish import messages
from edge_agent.publish.mqtt import MqttSession
from edge_agent.publish.options import MqttOptions, ServerOptions

_FAREWELL_S = 2.0
_SERVER_S = 10.0


def site(options: AgentOptions, connected: Sequence[str], *, is_running: bool) -> Iterator[Finding]:
    """Yield what the configuration depends on. Blocks.

    Args:
        options: the configuration.
        connected: publishers that the running agent has a session for; a second one would end it.
        is_running: an agent runs with it, and has the port of the pages.
    """
    for setting in options.insecure:
        yield warn("configuration", f"insecure setting {setting}", "see docs/threat-model.md")
    yield from _serial_ports(options)
    yield from certificates(options.watched)
    yield from asyncio.run(_brokers(options.publishers, connected))
    if not is_running:
        yield from _pages(options.ops)


def certificates(paths: Iterable[Path]) -> Iterator[Finding]:
    """Yield until when each certificate in these files is valid; files that hold none are passed over."""
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            with suppress(OSError):
                if found := certificates_in(file):
                    yield _certificate(file, min(found, key=lambda one: one.not_valid_after_utc))


def _certificate(file: Path, certificate: x509.Certificate) -> Finding:
    end = certificate.not_valid_after_utc
    days = (end.timestamp() - time.time()) / 86400
    begins_s = certificate.not_valid_before_utc.timestamp() - time.time()
    found = f"{file}: until {end:%Y-%m-%d}"
    if begins_s > 0:
        return fail("certificate", f"{found}, not valid yet", "set the clock of this box, or of what issued it")
    if days < 0:
        return fail("certificate", f"{found}: has ended", "renew it; the agent takes the new file up by itself")
    if days < WARN_DAYS:
        return warn("certificate", f"{found}: {days:.0f} days", "renew it; the agent takes it up by itself")
    return ok("certificate", found)


def _serial_ports(options: AgentOptions) -> Iterator[Finding]:
    ports: dict[str, list[str]] = {}
    for device in options.devices:
        for port in _devices_in(device.config.unpack()):
            ports.setdefault(port, []).append(device.id)
    for port, devices in ports.items():
        yield _serial_port(Path(port), f"{port} ({', '.join(devices[:3])}{', …' * (len(devices) > 3)})")  # noqa: PLR2004


def _serial_port(path: Path, found: str) -> Finding:
    try:
        mode = path.stat().st_mode
    except OSError as exc:
        near = ", ".join(str(one) for one in sorted(Path("/dev/serial/by-id").glob("*"))) or "none"
        return fail("serial port", f"{found}: {exc.strerror}", f"plug the adapter in; there are: {near}")
    if not stat.S_ISCHR(mode):
        return fail("serial port", f"{found} is no device", "correct the port in the configuration")
    if not os.access(path, os.R_OK | os.W_OK):
        return fail("serial port", f"{found}: no rights", "add the user to the group dialout, and log in again")
    return ok("serial port", found)


def _devices_in(value: object) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("/dev/"):
        yield value
    elif isinstance(value, BaseModel):
        for _, inner in value:
            yield from _devices_in(inner)


async def _brokers(publishers: Sequence[MqttOptions], connected: Sequence[str]) -> list[Finding]:
    found: dict[int, Finding] = {}
    pairs = [(publisher, server) for publisher in publishers for server in publisher.servers]

    async def look(number: int, publisher: MqttOptions, server: ServerOptions) -> None:
        found[number] = await _broker(publisher, server)

    async with asyncio.TaskGroup() as group:
        for number, (publisher, server) in enumerate(pairs):
            if publisher.id in connected:
                found[number] = ok("broker", f"{publisher.id}: the running agent is connected")
            else:
                group.create_task(look(number, publisher, server), name=f"doctor:{publisher.id}")
    return list(dict.fromkeys(found[number] for number in sorted(found)))


async def _broker(publisher: MqttOptions, server: ServerOptions) -> Finding:
    """Log in as the agent would, which shows name, network, TLS and password; publish nothing."""
    where = f"{publisher.id}: {server.host}:{server.port}"
    sender = messages.Sender(publisher.gateway, "doctor")
    try:
        topic = fill(publisher.topics.status, {"gateway": publisher.gateway})
        will = messages.status(topic, sender, is_online=False, t_ns=time.time_ns(), version=__version__)
        quick = replace(publisher, connect_timeout_s=min(publisher.connect_timeout_s, _SERVER_S))
        began_s = time.monotonic()
        session = await MqttSession.connect(quick, server, will)
    except (BrokerUnavailableError, IdentifierError) as exc:
        return fail("broker", where, str(exc))
    took_s = time.monotonic() - began_s
    try:
        async with asyncio.timeout(_FAREWELL_S):
            await session.close()
    except (TimeoutError, BrokerUnavailableError):
        session.abort()
    return ok("broker", f"{where}: session in {took_s * 1e3:.0f} ms{', TLS' if server.use_tls else ''}")


def _pages(options: OpsOptions) -> Iterator[Finding]:
    host, port = options.http_host, options.http_port
    if not port:
        return
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        yield fail("pages", f"{where}: {exc.strerror}", "another port in ops.http; `ss -ltnp` shows who has it")
    else:
        yield ok("pages", f"{where} is free")
