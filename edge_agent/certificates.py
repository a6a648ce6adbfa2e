"""The ability of a driver to keep certificates: its own one, and whom it trusts.

``edge-agent opcua`` shows and changes them. The store is files in the driver's directory, so that a command works
beside the agent or without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography import x509

_PEM = b"-----BEGIN CERTIFICATE-----"


def certificates_in(file: Path) -> "list[x509.Certificate]":
    """Return the certificates in a PEM or DER file, none if it holds something else or anything that is broken.

    Raises:
        OSError: the file cannot be read.
    """
    from cryptography import x509  # noqa: PLC0415 - heavy, and most agents have no certificate

    content = file.read_bytes()
    try:
        if _PEM in content:
            found = x509.load_pem_x509_certificates(content)
        else:
            found = (
                [x509.load_der_x509_certificate(content)] if content[:1] == b"\x30" else []
            )  # X.690: a sequence
        for certificate in found:
            certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018 - decoded when read
    except ValueError:
        return []
    return found


class CertificateStanding(StrEnum):
    """What a certificate is to us."""

    OWN = "own"
    TRUSTED = "trusted"
    REJECTED = "rejected"  # a device showed it, and was refused: not trusted, expired, another application's


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """One certificate of a store.

    Attributes:
        fingerprint: SHA-256 of its DER form, hexadecimal.
        thumbprint: SHA-1 of it, which many servers show instead; for the eye only.
        application_uri: empty if it names none.
        is_authority: it vouches for the certificates that it issued.
        is_revoked: an authority of the store has taken it back.
        seen: where, a line each: time, device, address; of a rejected one why, after a colon.
    """

    standing: CertificateStanding
    fingerprint: str
    thumbprint: str
    subject: str
    issuer: str
    application_uri: str
    valid_from_ns: int
    valid_until_ns: int
    file: Path
    is_authority: bool = False
    is_revoked: bool = False
    seen: tuple[str, ...] = ()


class CertificateStore(Protocol):
    """The certificates of one driver. Every method reads or writes files, and blocks.

    A running agent takes up what was changed at its next attempt to connect.
    """

    def entries(self) -> Sequence[CertificateEntry]:
        """Return everything that is kept: own, trusted, rejected.

        Raises:
            DriverError: the files cannot be read.
        """
        ...

    def trust(self, what: str) -> CertificateEntry:
        """Trust a certificate, and return it as it stands now.

        Args:
            what: the fingerprint of a rejected one, or its beginning; or the path of a file.

        Raises:
            DriverError: there is no such one, or several; or the files cannot be written.
        """
        ...

    def distrust(self, what: str) -> CertificateEntry:
        """Take a certificate off the trust list, and return what it was; ``what`` and errors as ``trust``."""
        ...

    def own(self) -> CertificateEntry:
        """Return the own certificate that is used first; it is made if there is none.

        Raises:
            DriverError: it cannot be made or read.
        """
        ...

    def renew(self) -> CertificateEntry:
        """Make a new own certificate; the one before it is used where a server does not take the new one.

        Raises:
            DriverError: it cannot be made.
        """
        ...
