"""One certificate: reading it from files and the wire, and what it says about itself."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from edge_agent.errors import DeviceUnavailableError

SUFFIXES = frozenset({".der", ".pem", ".crt", ".cer"})
_UNREADABLE = (
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    TypeError,
)  # and ValueError
_UNREAD = "see that it is there and that the agent's user may read it"
MAX_CHAIN = 5
MAX_SHOWN = 200  # characters of a name
MAX_FILE_BYTES = 2**20  # a bundle of authorities may be long; a certificate is not


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the DER form, hexadecimal: what servers and people compare."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def thumbprint(certificate: x509.Certificate) -> str:
    """Return the SHA-1 of the DER form, hexadecimal: what OPC 10000-4 §7.3 calls so, and many servers show."""
    return certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - to compare by eye what a server shows


def name_of(certificate: x509.Certificate) -> str:
    """Return subject and fingerprint, for messages."""
    return f"{visible(certificate.subject.rfc4514_string())} (SHA-256 {fingerprint(certificate)})"


def visible(text: str) -> str:
    """Return what somebody out there wrote so that it can stand in a message: short, and steering no terminal."""
    cut = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut)


def der_of(certificate: x509.Certificate) -> bytes:
    """Return the certificate as it goes over the wire."""
    return certificate.public_bytes(serialization.Encoding.DER)


def uris(certificate: x509.Certificate) -> list[str]:
    """Return the URIs of the subjectAltName; the first one is the application's (OPC 10000-6 §6.2.2)."""
    names = _names(certificate)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def hosts(certificate: x509.Certificate) -> set[str]:
    """Return the host names and addresses of the subjectAltName, in lower case."""
    names = _names(certificate)
    if names is None:
        return set()
    addresses = names.get_values_for_type(x509.IPAddress)
    return {name.lower() for name in names.get_values_for_type(x509.DNSName)} | {str(one) for one in addresses}


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether it may issue others: basicConstraints says so, and keyUsage does not say otherwise.

    RFC 5280 §4.2.1.3, §4.2.1.9.
    """
    try:
        is_one = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        return is_one and certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as exc:
        return exc.oid == x509.KeyUsage.oid
    except ValueError:
        return False


def allows(authority: x509.Certificate, below: int) -> bool:
    """Return whether ``authority`` allows so many authorities between itself and a server (pathLenConstraint)."""
    most = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    return most is None or below <= most


def has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Return whether ``authority`` is one, and has signed ``certificate``."""
    return is_authority(authority) and has_signed(authority, certificate)


def has_signed(signer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Return whether the key of ``signer`` has signed ``certificate``, and its name is the issuer's."""
    try:
        certificate.verify_directly_issued_by(signer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def rsa_bits(certificate: x509.Certificate) -> int:
    """Return the length of the key; 0 if it is not RSA."""
    key = certificate.public_key()
    return key.key_size if isinstance(key, rsa.RSAPublicKey) else 0


def chain(chain_der: bytes) -> list[x509.Certificate]:
    """Return the certificates that a server sends: its own, then those of its authorities, DER after DER.

    OPC 10000-6 §6.2.6. What comes after ``MAX_CHAIN`` of them, or cannot be read, is left out.

    Raises:
        ValueError: the first one is not a certificate.
    """
    found: list[x509.Certificate] = []
    while not found or (chain_der and len(found) < MAX_CHAIN):
        # Certificates are between 256 and 65,535 bytes: 30 82 hi lo.
        length = int.from_bytes(chain_der[2:4], "big") + 4
        try:
            found += _read_through(x509.load_der_x509_certificate, chain_der[:length])
        except ValueError:
            if not found:
                raise
            break
        chain_der = chain_der[length:]
    return found


def files_in(folder: Path, suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """Return the files of ``folder`` that have one of the ``suffixes``, sorted; none if there is no folder.

    Raises:
        DeviceUnavailableError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise DeviceUnavailableError(f"cannot read {folder}: {exc.strerror}") from exc


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates in a file, PEM (one or several) or DER.

    Raises:
        DeviceUnavailableError: it cannot be read, or holds none.
    """
    content = content_of(path)
    try:
        if b"-----BEGIN" in content:
            return _read_through(x509.load_pem_x509_certificates, content)
        return _read_through(x509.load_der_x509_certificate, content)
    except ValueError as exc:
        raise DeviceUnavailableError(f"{path} is not a certificate: {exc}") from exc


def load_private_key(path: Path) -> rsa.RSAPrivateKey:
    """Return the key in a file, PEM or DER.

    Raises:
        DeviceUnavailableError: it cannot be read, has a passphrase, or is not RSA.
    """
    content = content_of(path)
    try:
        if b"-----BEGIN" in content:
            key = serialization.load_pem_private_key(content, None)
        else:
            key = serialization.load_der_private_key(content, None)
    except (TypeError, ValueError) as exc:  # TypeError: it has a passphrase
        raise DeviceUnavailableError(f"{path} is not a private key without a passphrase: {exc}") from exc
    if not isinstance(key, rsa.RSAPrivateKey):
        raise DeviceUnavailableError(f"{path} is not an RSA key, which the security policies of OPC UA want")
    return key


def content_of(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        DeviceUnavailableError: it cannot be read, or is far too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise DeviceUnavailableError(f"cannot read {path}: {exc.strerror}; {_UNREAD}") from exc
    if len(content) > MAX_FILE_BYTES:
        raise DeviceUnavailableError(f"{path} is longer than {MAX_FILE_BYTES} bytes: that is not a certificate")
    return content


def check_time(certificate: x509.Certificate, now: datetime, whose: str, remedy: str) -> None:
    """Return if ``certificate`` is valid ``now`` (a time with a zone).

    Raises:
        DeviceUnavailableError: expired, or not valid yet; ``whose`` and ``remedy`` are for the message.
    """
    until, since = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if now > until:
        raise DeviceUnavailableError(f"{whose} has expired on {until:%Y-%m-%d}: {name_of(certificate)}; {remedy}")
    if now < since:
        raise DeviceUnavailableError(
            f"{whose} is valid from {since:%Y-%m-%d} only: {name_of(certificate)}; "
            f"is the clock of this gateway right ({now:%Y-%m-%d})? Otherwise {remedy}"
        )


def _read_through(
    load: Callable[[bytes], x509.Certificate | list[x509.Certificate]], content: bytes
) -> list[x509.Certificate]:
    """Return certificates of which every part can be read; the library reads most parts when they are asked for.

    Raises:
        ValueError: some part cannot be read: nobody that means well has made it.
    """
    try:
        loaded = load(content)
        certificates = loaded if isinstance(loaded, list) else [loaded]
        for certificate in certificates:
            for name in (certificate.subject, certificate.issuer):
                name.rfc4514_string()
            certificate.public_key()
            certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018 - read
            for extension in certificate.extensions:
                extension.value  # noqa: B018 - read
    except _UNREADABLE as exc:
        raise ValueError(f"a part of the certificate cannot be read: {exc}") from exc
    return certificates


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None
