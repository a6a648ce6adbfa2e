"""Certificates: the own one, and which servers to trust. Nothing is trusted unless it is listed.

A server is trusted if its certificate is in the list, or was issued by an authority that is. Files are read anew
for each session, so that a renewed certificate needs no restart.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.config import OpcUaDevice

SUFFIXES = frozenset({".der", ".pem", ".crt", ".cer"})


@dataclass(frozen=True, slots=True)
class Identity:
    """The own certificate and key (DER), and what it says about itself."""

    certificate: x509.Certificate
    private_key_der: bytes
    application_uri: str

    @property
    def certificate_der(self) -> bytes:
        """The certificate as it goes over the wire."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that a secure session needs of the disk."""

    identity: Identity
    trusted: tuple[x509.Certificate, ...]
    trusted_where: str


def load_credentials(config: OpcUaDevice) -> Credentials:
    """Read the certificates and the key that the configuration names. Blocks: call it on a thread.

    Raises:
        DeviceUnavailableError: a file is missing or is not what it should be; the message names it.
    """
    assert config.certificate is not None and config.private_key is not None and config.trusted is not None  # noqa: S101, PT018 - the model has checked it
    certificate = _certificate(config.certificate)
    uri = config.application_uri or next(iter(_uris(certificate)), "")
    if not uri:
        raise DeviceUnavailableError(
            f"{config.certificate} has no URI in its subjectAltName: make one that has, or set `application_uri:`"
        )
    identity = Identity(certificate, _private_key_der(config.private_key), uri)
    if isinstance(config.trusted, Path):
        files: Iterable[Path] = _files_in(config.trusted) if config.trusted.is_dir() else [config.trusted]
        where = str(config.trusted)
    else:
        files = config.trusted
        where = ", ".join(map(str, config.trusted))
    return Credentials(identity, tuple(_certificate(file) for file in files), where)


def check_server(server: x509.Certificate, server_uri: str, credentials: Credentials, now: datetime) -> None:
    """Return if the server may be talked to.

    Args:
        server: the certificate that it shows.
        server_uri: the application URI that it claims.
        credentials: whom we trust.
        now: the time to judge by, with a zone.

    Raises:
        DeviceUnavailableError: not trusted, not valid now, or another application's certificate.
    """
    name = f"{server.subject.rfc4514_string()} (SHA-256 {server.fingerprint(hashes.SHA256()).hex()})"
    issued = [authority for authority in credentials.trusted if _has_issued(authority, server)]
    if server not in credentials.trusted and not issued:
        raise DeviceUnavailableError(
            f"the certificate of the server is not trusted: {name}; compare the fingerprint with the server's own "
            f"display, then put the certificate into {credentials.trusted_where}"
        )
    for certificate in (server, *issued[:1]):
        until = certificate.not_valid_after_utc
        if now > until:
            raise DeviceUnavailableError(
                f"the certificate of the server has expired on {until:%Y-%m-%d}: {name}; "
                "renew it on the server (or set the clock of this gateway)"
            )
        if now < certificate.not_valid_before_utc:
            raise DeviceUnavailableError(
                f"the certificate of the server is valid from {certificate.not_valid_before_utc:%Y-%m-%d} only: "
                f"{name}; set the clock of this gateway or of the server"
            )
    if server not in credentials.trusted and server_uri not in _uris(server):
        raise DeviceUnavailableError(
            f"the certificate of the server belongs to another application than {server_uri!r}: {name}; "
            f"renew it on the server, or put the certificate itself into {credentials.trusted_where}"
        )


def check_own(certificate: x509.Certificate, now: datetime) -> None:
    """Return if the own certificate is valid ``now``.

    Raises:
        DeviceUnavailableError: expired, or not valid yet.
    """
    if now > certificate.not_valid_after_utc:
        raise DeviceUnavailableError(
            f"our certificate has expired on {certificate.not_valid_after_utc:%Y-%m-%d}: renew `certificate:`"
        )
    if now < certificate.not_valid_before_utc:
        raise DeviceUnavailableError(
            f"our certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d} only: "
            "set the clock of this gateway"
        )


def leaf(chain_der: bytes) -> x509.Certificate:
    """Return the first certificate of a chain as servers send it: DER after DER (OPC 10000-6 §6.2.6).

    Raises:
        ValueError: it is not a certificate.
    """
    length = (
        int.from_bytes(chain_der[2:4], "big") + 4
    )  # certificates are between 256 and 65,535 bytes: 30 82 hi lo
    return x509.load_der_x509_certificate(chain_der[:length])


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(authority)
    except (x509.ExtensionNotFound, InvalidSignature, TypeError, ValueError):
        return False
    return constraints.ca


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _certificate(path: Path) -> x509.Certificate:
    content = _content(path)
    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificate(content)
        return x509.load_der_x509_certificate(content)
    except ValueError as exc:
        raise DeviceUnavailableError(f"{path} is not a certificate: {exc}") from exc


def _private_key_der(path: Path) -> bytes:
    content = _content(path)
    try:
        if b"-----BEGIN" in content:
            key = serialization.load_pem_private_key(content, None)
        else:
            key = serialization.load_der_private_key(content, None)
    except (TypeError, ValueError) as exc:  # TypeError: it has a passphrase
        raise DeviceUnavailableError(f"{path} is not a private key without a passphrase: {exc}") from exc
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DeviceUnavailableError(f"cannot read {path}: {exc.strerror}") from exc
