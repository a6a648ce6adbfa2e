"""Certificates for OPC UA applications, made at run time: the application URI is in the subjectAltName."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write ``<name>.pem`` and ``<name>.key.pem`` and return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key


@cache
def _key(_number: int) -> rsa.RSAPrivateKey:
    """Keys are slow to make: one for each role and run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def make_certificate(
    uri: str,
    *,
    key: int = 0,
    days: tuple[int, int] = (-1, 30),
    issuer: Pair | None = None,
    is_authority: bool = False,
    signs: bool = True,
    path_length: int | None = None,
    name: str = "",
) -> Pair:
    """Return a certificate for the application ``uri``, self-signed unless there is an ``issuer``.

    Args:
        key: number of the key pair; the same number gives the same key.
        days: first and last day of validity, counted from now.
        signs: whether the key may be used to sign certificates.
        path_length: how many authorities an authority allows below itself; None: any number.
        name: of the subject; empty: the ``uri``.
    """
    private = _key(key)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or uri)])
    now = datetime.now(UTC)
    names = [
        x509.UniformResourceIdentifier(uri),
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
    ]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    signer = issuer or Pair(None, private)  # type: ignore[arg-type]  # only the key is used
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    return Pair(certificate, private)
