"""Whom we are and whom we talk to: what a secure session needs of the disk, and the verdict on a server.

Nothing is trusted unless it is listed: a server's own certificate, or that of an authority that issued it. Files
are read anew for each session, so that what was changed needs no restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.certificate import (
    check_time,
    fingerprint,
    has_signed,
    hosts,
    is_authority,
    name_of,
    rsa_bits,
    uris,
    visible,
)
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.own import Identity, OwnCertificates, load_identity
from edge_agent_opcua.trust import Trusted, TrustList, load_trusted

__all__ = ["Credentials", "Identity", "UntrustedError", "check_server", "load_credentials", "read_files"]

KEY_BITS = range(2048, 4097)  # of every policy that we have (OPC 10000-7)
_OWN = "make a new one and renew `certificate:`"
_RENEW = "renew it on the server"


class UntrustedError(DeviceUnavailableError):
    """Nobody has said that the server may be talked to."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that a secure session needs of the disk.

    Attributes:
        identities: our certificates, the one to try first first; the others are for servers that refuse it.
        user: the certificate that the session logs in with; None = name or anonymous.
    """

    identities: tuple[Identity, ...]
    trusted: Trusted
    user: Identity | None = None


def load_credentials(config: OpcUaDevice, directory: Path, now: datetime) -> Credentials:
    """Read certificates and keys, and make an own certificate if there is none. Blocks: call it on a thread.

    Args:
        config: which files, unless they are those of the store.
        directory: of the store.
        now: the time to judge by, with a zone.

    Raises:
        DeviceUnavailableError: a file is missing or is not what it should be; the message names it.
    """
    own, user = _own(config), _user(config)
    if own is not None:
        check_time(own.certificate, now, "our certificate", _OWN)
    if user is not None:
        check_time(user.certificate, now, "the user's certificate", "make a new one and renew `user_certificate:`")
    identities = OwnCertificates(directory / "own").usable(now) if own is None else [own]
    return Credentials(tuple(identities), TrustList(directory).load(_trusted(config)), user)


def read_files(config: OpcUaDevice) -> None:
    """Read the certificates and keys that ``config`` names itself; errors as ``load_credentials``. Blocks."""
    _own(config)
    _user(config)
    load_trusted(_trusted(config))


def _own(config: OpcUaDevice) -> Identity | None:
    if config.certificate is None or config.private_key is None:
        return None
    return load_identity(config.certificate, config.private_key, config.application_uri)


def _user(config: OpcUaDevice) -> Identity | None:
    if config.user_certificate is None or config.user_private_key is None:
        return None
    return load_identity(config.user_certificate, config.user_private_key, is_application=False)


def _trusted(config: OpcUaDevice) -> Sequence[Path]:
    return [config.trusted] if isinstance(config.trusted, Path) else list(config.trusted or ())


def check_server(
    shown: Sequence[x509.Certificate], server_uri: str, config: OpcUaDevice, trusted: Trusted, now: datetime
) -> None:
    """Return if the server may be talked to (OPC 10000-4 §6.1.3).

    Args:
        shown: the certificate that it shows, and those of its authorities, if it shows them.
        server_uri: the application URI that it claims.
        config: the address, and whether another application's certificate is accepted.
        trusted: whom we trust.
        now: the time to judge by, with a zone.

    Raises:
        UntrustedError: it is not on the trust list. What is before the first colon says why, of every refusal.
        DeviceUnavailableError: revoked, not valid now, too weak, or another application's certificate.
    """
    server, *others = shown
    is_listed = server in trusted.certificates
    path = trusted.path(server, others)
    if not is_listed and not path:
        raise UntrustedError(
            f"the certificate of the server is not trusted: {name_of(server)}{_objection(shown, trusted)}; "
            "compare the fingerprint with the server's own display, then run: "
            f"edge-agent opcua trust add CONFIG {fingerprint(server)[:16]}"
        )
    for one in (server, *path):
        if trusted.is_revoked(one, others):
            raise DeviceUnavailableError(
                f"the certificate of the server was revoked by its authority: {name_of(one)}; {_RENEW}"
            )
    check_time(server, now, "the certificate of the server", _RENEW)
    for one in () if is_listed else path:
        check_time(one, now, "the certificate of the authority that vouches for the server", "renew it")
    if rsa_bits(server) not in KEY_BITS:
        raise DeviceUnavailableError(
            f"the key of the server is not RSA with 2048 to 4096 bits, which the policy wants: {name_of(server)}; "
            f"{_RENEW}"
        )
    if server_uri not in uris(server) and not config.insecure_server_uri:
        named = visible(", ".join(uris(server)) or "none")
        raise DeviceUnavailableError(
            f"the certificate of the server belongs to another application: it names {named}, the server says "
            f"{visible(server_uri)}: {name_of(server)}; {_RENEW}, or write `insecure_server_uri: true` if you "
            "accept that"
        )
    host = (urlsplit(config.url).hostname or "").lower()
    if not is_listed and host not in hosts(server):
        raise DeviceUnavailableError(
            f"the certificate of the server is not for {host}: {name_of(server)}; use a name or address that it "
            f"has in `url:`, or trust it itself: edge-agent opcua trust add CONFIG FILE"
        )


def _objection(shown: Sequence[x509.Certificate], trusted: Trusted) -> str:
    """Return why those that have signed what a server shows do not vouch for it; empty if there is none."""
    for certificate in shown:
        for signer in (*trusted.certificates, *shown):
            if signer != certificate and has_signed(signer, certificate):
                if not is_authority(signer):
                    return f"; {name_of(signer)}, which has issued it, is no authority (a CA with keyCertSign)"
                if signer in trusted.certificates:
                    return f"; {name_of(signer)}, which is trusted, allows no other authority in between (pathLen)"
    return ""
