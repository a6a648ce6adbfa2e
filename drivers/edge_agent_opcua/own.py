"""The own certificate of the gateway: made when there is none, kept, and renewed long before it ends.

Numbered pairs, ``certificate-1.pem`` and ``key-1.pem``; the highest number is the newest. A renewal adds a pair
and keeps the one before it: a server that does not trust the new one yet is still talked to with the old one, so
that trust can be given server by server while readings flow.
"""

import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.certificate import check_time, der_of, load_certificates, load_private_key, uris
from edge_agent_opcua.files import PRIVATE, locked, write

KEY_BITS = 2048  # every policy takes it, and so does every server (OPC 10000-7: 2048 to 4096)
VALID_FOR = timedelta(days=5 * 365)
RENEW_BEFORE = timedelta(days=180)
BACKDATED = timedelta(days=1)  # a server whose clock is behind takes it, too
CLOCK_IS_SET_AFTER = datetime(2026, 1, 1, tzinfo=UTC)
REMEDY = "make the gateway's new certificate trusted on the server: edge-agent opcua certificate"
_RENEW = "run: edge-agent opcua certificate --renew"
_PAIR = re.compile(r"certificate-([0-9]{1,6})\.pem")


@dataclass(frozen=True, slots=True)
class Identity:
    """An own certificate, its key (DER), and what it says about itself."""

    certificate: x509.Certificate
    private_key_der: bytes
    application_uri: str
    file: Path

    @property
    def certificate_der(self) -> bytes:
        """The certificate as it goes over the wire."""
        return der_of(self.certificate)


def load_identity(
    certificate_file: Path, key_file: Path, application_uri: str = "", *, is_application: bool = True
) -> Identity:
    """Read a certificate and its key; that of an application must name it.

    Raises:
        DeviceUnavailableError: a file is missing or is not what it should be; the message names it.
    """
    certificate = load_certificates(certificate_file)[0]
    key = load_private_key(key_file)
    if key.public_key() != certificate.public_key():
        raise DeviceUnavailableError(f"{key_file} is not the key of {certificate_file}")
    uri = application_uri or next(iter(uris(certificate)), "")
    if is_application and not uri:
        raise DeviceUnavailableError(
            f"{certificate_file} has no URI in its subjectAltName: make one that has, or set `application_uri:`"
        )
    der = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Identity(certificate, der, uri, certificate_file)


class OwnCertificates:
    """The pairs in ``folder``. Every method blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def usable(self, now: datetime) -> list[Identity]:
        """Return the identities that are valid ``now``, the newest first; makes or renews one where it is time.

        Raises:
            DeviceUnavailableError: it cannot be made or read; nothing is ever replaced that cannot be read.
        """
        with locked(self._folder):
            known = self.all()
            if not known or _ends(known[0]) - now < RENEW_BEFORE:
                known.insert(0, self._make(now, known))
        valid = [one for one in known if one.certificate.not_valid_before_utc <= now <= _ends(one)]
        if not valid:
            check_time(known[0].certificate, now, "our certificate", _RENEW)
        return valid

    def renew(self, now: datetime) -> Identity:
        """Make a new pair, whatever is there, and return it; errors as ``usable``."""
        with locked(self._folder):
            return self._make(now, self.all())

    def all(self) -> list[Identity]:
        """Return every pair, the newest first; errors as ``usable``."""
        return [
            load_identity(self._folder / f"certificate-{number}.pem", self._folder / f"key-{number}.pem")
            for number in reversed(self._numbers())
        ]

    def _numbers(self) -> list[int]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise DeviceUnavailableError(f"cannot read {self._folder}: {exc.strerror}") from exc
        return sorted(int(found[1]) for found in map(_PAIR.fullmatch, names) if found)

    def _make(self, now: datetime, known: list[Identity]) -> Identity:
        if now < CLOCK_IS_SET_AFTER:
            raise DeviceUnavailableError(
                f"no certificate is made while the clock of this gateway shows {now:%Y-%m-%d}: set it (NTP)"
            )
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        host = _host_name()
        uri = known[0].application_uri if known else f"urn:edge-agent:{host}"
        certificate = _signed(key, uri, host, now)
        number = max(self._numbers(), default=0) + 1
        certificate_file = self._folder / f"certificate-{number}.pem"
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The key first: the pair is there once the certificate is.
        write(self._folder / f"key-{number}.pem", key_pem, PRIVATE)
        write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
        return load_identity(certificate_file, self._folder / f"key-{number}.pem")


def _ends(identity: Identity) -> datetime:
    return identity.certificate.not_valid_after_utc


def _host_name() -> str:
    name = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()).strip("-.").lower()
    return name[:63] or "gateway"


def _signed(key: rsa.RSAPrivateKey, uri: str, host: str, now: datetime) -> x509.Certificate:
    """Return a self-signed application instance certificate (OPC 10000-6 §6.2.2)."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"edge-agent {host}"[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "edge-agent"),
        ]
    )
    names = [x509.UniformResourceIdentifier(uri), x509.DNSName(host)]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # it has signed itself, which some stacks check
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
