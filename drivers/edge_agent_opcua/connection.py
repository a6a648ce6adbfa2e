"""Opening and dropping a connection with asyncua: one fresh client for each, and none of its background tasks.

The library's ``Client.connect`` would start a supervisor, a watchdog and a renewal task of its own, and its
publish loop hides errors. The steps below are the same public calls without them: the session renews the channel
when it uses it, publishes by itself, and a failure ends where it happens.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone
from asyncua.crypto.uacrypto import CertProperties
from cryptography.hazmat.primitives.serialization import Encoding

from edge_agent.clock import Clock
from edge_agent.errors import DeviceUnavailableError, DriverError
from edge_agent_opcua.config import OpcUaDevice, SecurityMode, SecurityPolicy
from edge_agent_opcua.plan import session_timeout_s
from edge_agent_opcua.security import check_own, check_server, leaf, load_credentials
from edge_agent_opcua.translation import FOREIGN, explain, plain_cancellation, whole_session

MAX_MESSAGE_BYTES = 16 * 2**20  # what we let a server send in one message
HELLO_SHARE = 0.5  # of the time to connect
LIBRARY_PATIENCE = 2.0  # the library's time-outs, in ours: the agent's always come first

_POLICIES = {SecurityPolicy.BASIC256SHA256: SecurityPolicyBasic256Sha256}
_MODES = {
    SecurityMode.SIGN: ua.MessageSecurityMode.Sign,
    SecurityMode.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}

_library_log = logging.getLogger("asyncua")
if _library_log.level == logging.NOTSET:
    # It logs each failure of each attempt, up to CRITICAL. All of them come to us as exceptions.
    _library_log.setLevel(logging.CRITICAL + 1)


async def open_connection(config: OpcUaDevice, clock: Clock) -> Any:
    """Return a client with an active session.

    Raises:
        DeviceUnavailableError: not reached, refused, or not trusted; the message says by whom and what to do.

    On cancellation nothing stays open.
    """
    client = Client(config.url, timeout=LIBRARY_PATIENCE * max(config.connect_timeout, config.timeout))
    client.name = client.description = f"edge-agent {config.id}"
    client.application_uri = config.application_uri or f"urn:edge-agent:{config.id}"
    client.session_timeout = session_timeout_s(config) * 1e3
    client.max_messagesize = MAX_MESSAGE_BYTES
    client.uaclient.session.ensure_publish_loop = _no_publish_loop
    client.uaclient._make_protocol = _bounded(client.uaclient._make_protocol)  # noqa: SLF001 - no public way
    client.send_hello = partial(_hello, client, config, client.send_hello)
    try:
        if config.security_policy is not SecurityPolicy.NONE:
            await _secure(client, config, datetime.fromtimestamp(clock.now_ns() / 1e9, UTC))
        await _log_in(client, config)
    except DriverError:
        await hang_up(client)
        raise
    except BaseException:
        drop(client)
        raise
    return client


async def hang_up(client: Any) -> None:
    """Close the session politely, so that the server does not keep it until its time-out; then drop it.

    Silent on a connection that is dead. On cancellation the connection is dropped all the same.
    """
    is_polite = False
    try:
        with suppress(*FOREIGN), plain_cancellation():
            await client.close_session()
            await client.close_secure_channel()
            is_polite = True
    finally:
        drop(client, is_flushed=is_polite)


def drop(client: Any, *, is_flushed: bool = False) -> None:
    """Close the socket at once; silent on one that is closed.

    Args:
        client: as ``open_connection`` gave it.
        is_flushed: send what is still buffered before closing.
    """
    protocol = client.uaclient.protocol
    if protocol is not None and protocol.transport is not None and not is_flushed:
        protocol.transport.abort()
    client.disconnect_socket()


async def _secure(client: Any, config: OpcUaDevice, now: datetime) -> None:
    """Decide whether the server is trusted, before anything is encrypted for it, and set the channel up."""
    with whole_session(config.url, "reading certificates"):
        credentials = await asyncio.to_thread(load_credentials, config)
    check_own(credentials.identity.certificate, now)
    policy, mode = _POLICIES[config.security_policy], _MODES[config.security_mode]
    with whole_session(config.url, "asking for the server's endpoints"):
        offers = await client.connect_and_get_server_endpoints()
        offer = next((it for it in offers if it.SecurityMode == mode and it.SecurityPolicyUri == policy.URI), None)
        if offer is None:
            raise DeviceUnavailableError(
                f"{config.url} does not offer {config.security_policy.value} with {config.security_mode.value}; "
                "enable it on the server"
            )
        server = leaf(offer.ServerCertificate)
        server_uri = str(offer.Server.ApplicationUri)
    check_server(server, server_uri, credentials, now)
    client.application_uri = credentials.identity.application_uri
    with whole_session(config.url, "preparing the secure channel"):
        await client.set_security(
            policy,
            CertProperties(credentials.identity.certificate_der, "der"),
            CertProperties(credentials.identity.private_key_der, "der"),
            server_certificate=CertProperties(server.public_bytes(Encoding.DER), "der"),
            mode=mode,
        )


async def _log_in(client: Any, config: OpcUaDevice) -> None:
    with whole_session(config.url, "connecting"):
        await _connect_socket(client)
        await client.send_hello()
    with whole_session(config.url, "opening the secure channel"):
        await client.open_secure_channel()
    with whole_session(config.url, "creating a session"):
        await client.create_session()
    with whole_session(config.url, "logging in"):
        _refuse_plain_password(client, config)
        await client.activate_session(
            username=config.user or None,
            password=config.password.get_secret_value() if config.password else None,
        )


async def _hello(client: Any, config: OpcUaDevice, send: Callable[[], Awaitable[None]]) -> None:
    """Exchange Hello and Acknowledge (OPC 10000-6 §7.1.2.3), which needs no work of the server.

    Who takes a TCP connection and says nothing of OPC UA must not look like a cut cable.
    """
    try:
        async with asyncio.timeout(HELLO_SHARE * config.connect_timeout):
            with plain_cancellation():
                await send()
    except ua.UaStatusCodeError:
        raise  # said by a server of OPC UA
    except FOREIGN as exc:
        drop(client)
        raise DeviceUnavailableError(
            f"{config.url}: something takes connections there but does not answer as OPC UA ({explain(exc)}); "
            "check the port in `url:`, or whether the server hangs"
        ) from exc


async def _connect_socket(client: Any) -> None:
    task = asyncio.current_task()
    cancellations = task.cancelling() if task is not None else 0
    await client.connect_socket()
    if task is not None and task.cancelling() > cancellations:
        # The library's asyncio.wait_for, on Python 3.11, forgets a cancellation that crosses the connection.
        raise asyncio.CancelledError


def _refuse_plain_password(client: Any, config: OpcUaDevice) -> None:
    """A server may ask for the bare password in spite of its endpoint's policy (OPC 10000-4 §7.41)."""
    if not config.user or config.is_encrypted or config.insecure_password:
        return
    if client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri == SecurityPolicyNone.URI:
        raise DeviceUnavailableError(
            f"{config.url} wants the password without encryption; write `security_mode: SignAndEncrypt`"
        )


def _no_publish_loop() -> None:
    """Take the place of the library's publish loop: the session publishes by itself."""


def _bounded(make_protocol: Callable[[], Any]) -> Callable[[], Any]:
    """Return what makes a protocol that drops a server whose message is longer than it may be.

    The library takes its limits from the server, and looks at the length of a chunk once it is complete: a header
    that announces 4 GiB, or chunks without a last one, would take the agent's memory.
    """

    def make() -> Any:
        protocol = make_protocol()
        receive = protocol.data_received

        def data_received(data: bytes) -> None:
            receive(data)
            incomplete_bytes = protocol._connection._incoming_size  # noqa: SLF001 - no public way
            held_bytes = len(protocol.receive_buffer or b"") + incomplete_bytes
            if held_bytes > MAX_MESSAGE_BYTES and protocol.transport is not None:
                protocol.transport.abort()

        protocol.data_received = data_received
        return protocol

    return make
