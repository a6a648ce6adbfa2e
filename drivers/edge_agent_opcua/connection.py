"""Opening and dropping a connection with asyncua: one fresh client for each, and none of its background tasks.

The library's ``Client.connect`` would start a supervisor, a watchdog and a renewal task of its own, and its
publish loop hides errors. The steps below are the same public calls without them: the session renews the channel
when it uses it, publishes by itself, and a failure ends where it happens.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from asyncua import Client, ua
from asyncua.crypto import uacrypto
from asyncua.crypto.security_policies import (
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
    SecurityPolicyNone,
)
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary
from cryptography import x509

from edge_agent.driver import Context
from edge_agent.errors import DeviceUnavailableError, DriverError
from edge_agent_opcua.certificate import chain, der_of
from edge_agent_opcua.config import OpcUaDevice, SecurityMode, SecurityPolicy
from edge_agent_opcua.own import REMEDY, Identity
from edge_agent_opcua.plan import session_timeout_s
from edge_agent_opcua.security import Credentials, UntrustedError, check_server, load_credentials
from edge_agent_opcua.translation import (
    FOREIGN,
    explain,
    in_time,
    is_about_our_certificate,
    plain_cancellation,
    whole_session,
)
from edge_agent_opcua.trust import TrustList

MAX_MESSAGE_BYTES = 16 * 2**20  # what we let a server send in one message
HELLO_SHARE = 0.5  # of the time to connect
LIBRARY_PATIENCE = 2.0  # the library's time-outs, in ours: the agent's always come first

_POLICIES = {
    SecurityPolicy.BASIC256SHA256: SecurityPolicyBasic256Sha256,
    SecurityPolicy.AES128_SHA256_RSAOAEP: SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicy.AES256_SHA256_RSAPSS: SecurityPolicyAes256Sha256RsaPss,
}
_SAFE_FOR_PASSWORDS = frozenset(policy.URI for policy in _POLICIES.values())
_SERVICE_FAULT = ua.NodeId(ua.ObjectIds.ServiceFault_Encoding_DefaultBinary)
_MODES = {
    SecurityMode.SIGN: ua.MessageSecurityMode.Sign,
    SecurityMode.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}

_KINDS_OF_USERS = {
    ua.UserTokenType.UserName: ("a user name", "`user:` and `password:`"),
    ua.UserTokenType.Certificate: ("a user certificate", "`user_certificate:` and `user_private_key:`"),
    ua.UserTokenType.Anonymous: ("an anonymous session", "neither `user:` nor `user_certificate:`"),
}

_library_log = logging.getLogger("asyncua")
if _library_log.level == logging.NOTSET:
    # It logs each failure of each attempt, up to CRITICAL. All of them come to us as exceptions.
    _library_log.setLevel(logging.CRITICAL + 1)


async def open_connection(config: OpcUaDevice, context: Context) -> Any:
    """Return a client with an active session.

    Where there are several own certificates, a server that does not take the newest is shown the one before it.

    Raises:
        DeviceUnavailableError: not reached, refused, or not trusted; the message says by whom and what to do.

    On cancellation nothing stays open.
    """
    if config.security_policy is SecurityPolicy.NONE:
        return await _open(config, context, None, None)
    now = _now(context)
    with whole_session(config.url, "reading certificates"):
        credentials = await asyncio.to_thread(load_credentials, config, context.directory, now)
    *later, last = credentials.identities
    for identity in later:
        try:
            return await _open(config, context, credentials, identity)
        except DeviceUnavailableError as exc:
            if not is_about_our_certificate(exc):
                raise
    return await _open(config, context, credentials, last)


async def _open(
    config: OpcUaDevice, context: Context, credentials: Credentials | None, identity: Identity | None
) -> Any:
    client = Client(config.url, timeout=LIBRARY_PATIENCE * max(config.connect_timeout, config.timeout))
    client.name = client.description = f"edge-agent {config.id}"
    client.application_uri = config.application_uri or f"urn:edge-agent:{config.id}"
    client.session_timeout = session_timeout_s(config) * 1e3
    client.max_messagesize = MAX_MESSAGE_BYTES
    client.uaclient.session.ensure_publish_loop = _no_publish_loop
    client.uaclient._make_protocol = _guarded(client.uaclient._make_protocol)  # noqa: SLF001 - no public way
    client.send_hello = partial(_hello, client, config, client.send_hello)
    try:
        if credentials is not None and identity is not None:
            await _secure(client, config, context, credentials, identity)
        await _log_in(client, config, credentials)
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


async def _secure(
    client: Any, config: OpcUaDevice, context: Context, credentials: Credentials, identity: Identity
) -> None:
    """Decide whether the server is trusted, before anything is encrypted for it, and set the channel up."""
    policy, mode = _POLICIES[config.security_policy], _MODES[config.security_mode]
    with whole_session(config.url, "asking for the server's endpoints"):
        offers = await client.connect_and_get_server_endpoints()
        offer = next((it for it in offers if it.SecurityMode == mode and it.SecurityPolicyUri == policy.URI), None)
        if offer is None:
            raise DeviceUnavailableError(
                f"{config.url} does not offer {config.security_policy.value} with {config.security_mode.value}: "
                f"enable it on the server, which offers {_offered(offers)}"
            )
        shown = chain(offer.ServerCertificate or b"")
        server_uri = str(offer.Server.ApplicationUri)
    await _judge(shown, server_uri, config, context, credentials)
    server = shown[0]
    _tell_expiries(context, server, credentials, identity)
    client.application_uri = identity.application_uri
    with whole_session(config.url, "preparing the secure channel"):
        await client.set_security(
            policy,
            uacrypto.CertProperties(identity.certificate_der, "der"),
            uacrypto.CertProperties(identity.private_key_der, "der"),
            server_certificate=uacrypto.CertProperties(der_of(server), "der"),
            mode=mode,
        )


async def _judge(
    shown: Sequence[x509.Certificate],
    server_uri: str,
    config: OpcUaDevice,
    context: Context,
    credentials: Credentials,
) -> None:
    """Raise unless the server may be talked to; one that is refused is kept for a person to look at."""
    now = _now(context)
    try:
        check_server(shown, server_uri, config, credentials.trusted, now)
    except DeviceUnavailableError as exc:
        where, reason = f"{config.id} {config.url}", str(exc).partition(": ")[0]
        try:
            await asyncio.to_thread(TrustList(context.directory).reject, shown[0], where, now, reason)
        except DeviceUnavailableError as unkept:
            if isinstance(exc, UntrustedError):
                raise UntrustedError(f"{exc}, with a file of it, for it could not be kept here: {unkept}") from exc
        raise


def _tell_expiries(context: Context, server: x509.Certificate, credentials: Credentials, own: Identity) -> None:
    ends = [("own", own.certificate, REMEDY), ("server", server, "renew the certificate on the server")]
    if credentials.user is not None:
        ends.append(("user", credentials.user.certificate, "make a new one and renew `user_certificate:`"))
    for which, certificate, remedy in ends:
        context.expires(which, round(certificate.not_valid_after_utc.timestamp()) * 10**9, remedy)


def _offered(offers: Sequence[Any]) -> str:
    words = {f"{str(it.SecurityPolicyUri).rpartition('#')[2]}/{it.SecurityMode.name.strip('_')}" for it in offers}
    return ", ".join(sorted(words)) or "nothing"


def _now(context: Context) -> datetime:
    return datetime.fromtimestamp(context.clock.now_ns() / 1e9, UTC)


async def _log_in(client: Any, config: OpcUaDevice, credentials: Credentials | None) -> None:
    with whole_session(config.url, "connecting"):
        await _connect_socket(client)
        await client.send_hello()
    with whole_session(config.url, "opening the secure channel"):
        await client.open_secure_channel()
    with whole_session(config.url, "creating a session"):
        await client.create_session()
    with whole_session(config.url, "logging in"):
        _refuse_unknown_kind(client, config)
        # The library takes the first policy for the kind of user; servers list weak ones and none first.
        weakness = partial(_weakness, client.security_policy.URI)
        client._policy_ids = sorted(client._policy_ids or (), key=weakness)  # noqa: SLF001 - no public way
        _refuse_plain_password(client, config)
        user = credentials.user if credentials is not None else None
        if user is not None:
            client.user_private_key = await uacrypto.load_private_key(user.private_key_der, extension="der")
        await client.activate_session(
            username=config.user or None,
            password=config.password.get_secret_value() if config.password else None,
            certificate=user.certificate if user is not None else None,
        )


async def _hello(client: Any, config: OpcUaDevice, send: Callable[[], Awaitable[None]]) -> None:
    """Exchange Hello and Acknowledge (OPC 10000-6 §7.1.2.3), which needs no work of the server.

    Who takes a TCP connection and says nothing of OPC UA must not look like a cut cable.
    """
    try:
        async with in_time(HELLO_SHARE * config.connect_timeout):
            if client.uaclient.protocol.is_closed:
                raise ConnectionResetError("connection lost")  # the library would wait for the answer
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


def _weakness(channel: str, policy: Any) -> int:
    """Return how badly a token policy protects a password or a signature, the least first (OPC 10000-4 §7.41)."""
    uri = policy.SecurityPolicyUri or channel
    if uri in _SAFE_FOR_PASSWORDS:
        return 0
    return 2 if uri == SecurityPolicyNone.URI else 1  # 1: deprecated


def _refuse_unknown_kind(client: Any, config: OpcUaDevice) -> None:
    """A server says for each endpoint how one may log in (OPC 10000-4 §7.14); one that says nothing is asked."""
    asked = _kind_of_user(config)
    offered = {it.TokenType for it in client._policy_ids or ()}  # noqa: SLF001 - no public way
    if offered and asked not in offered:
        ways = ", or ".join(way for kind, (_, way) in _KINDS_OF_USERS.items() if kind in offered)
        raise DeviceUnavailableError(
            f"{config.url}: logging in: the server does not take {_KINDS_OF_USERS[asked][0]} here: "
            + (f"write {ways}" if ways else "it wants a token, which the agent has none of")
        )


def _kind_of_user(config: OpcUaDevice) -> Any:
    if config.user:
        return ua.UserTokenType.UserName
    return ua.UserTokenType.Anonymous if config.user_certificate is None else ua.UserTokenType.Certificate


def _refuse_plain_password(client: Any, config: OpcUaDevice) -> None:
    """A server may ask for the bare password, or a weak cipher, in spite of its endpoint's policy.

    OPC 10000-4 §7.41 lets it choose; in an encrypted channel that harms nobody.
    """
    is_encrypted = (
        config.security_policy is not SecurityPolicy.NONE and config.security_mode is SecurityMode.SIGN_AND_ENCRYPT
    )
    if not config.user or is_encrypted or config.insecure_password:
        return
    if client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri not in _SAFE_FOR_PASSWORDS:
        raise DeviceUnavailableError(
            f"{config.url} wants the password without encryption; write `security_mode: SignAndEncrypt`"
        )


def _no_publish_loop() -> None:
    """Take the place of the library's publish loop: the session publishes by itself."""


def _refusal(message: Any) -> int | None:
    """Return the StatusCode with which the server refuses the connection or the channel; None if it does not."""
    if isinstance(message, ua.ErrorMessage):
        return message.Error.value if message.Error is not None and message.Error.is_bad() else None
    if isinstance(message, ua.Message) and isinstance(message.SecurityHeader(), ua.AsymmetricAlgorithmHeader):
        body = message.body().copy()
        if nodeid_from_binary(body) == _SERVICE_FAULT:
            return int(struct_from_binary(ua.ResponseHeader, body).ServiceResult.value)
    return None


def _guarded(make_protocol: Callable[[], Any]) -> Callable[[], Any]:
    """Return what makes a protocol that says why a server hung up, and drops one whose message is too long.

    A server that refuses a channel says why, in an Error message (OPC 10000-6 §7.1.2.5) or in a ServiceFault
    instead of the answer; the library stumbles over either, and the reason is lost.

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

        process = protocol._process_received_message  # noqa: SLF001 - no public way

        def process_message(message: Any) -> None:
            reason = _refusal(message)
            if reason is not None:
                protocol._fail_all_pending(ua.UaStatusCodeError(reason))  # noqa: SLF001 - as above
                raise ua.UaStatusCodeError(reason)
            process(message)

        protocol.data_received = data_received
        protocol._process_received_message = process_message  # noqa: SLF001 - as above
        return protocol

    return make
