"""The trust list: whom we talk to, and who was turned away. Files, so that people and tools can handle them.

``trusted/`` holds certificates of servers and of authorities, and revocation lists; ``rejected/`` what servers
showed and were refused for, bounded, each with where it was seen and why in the text above it (RFC 7468 §2).
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from edge_agent.errors import DeviceUnavailableError, DriverError
from edge_agent_opcua.certificate import (
    allows,
    content_of,
    der_of,
    files_in,
    fingerprint,
    has_issued,
    load_certificates,
)
from edge_agent_opcua.files import locked, remove, write

MAX_REJECTED = 50  # certificates; the one that was seen last the longest ago gives way
MAX_CERTIFICATE_BYTES = 16 * 1024  # of one that is kept as rejected
MAX_PLACES = 10  # where one certificate was seen; further ones are not noted
SHORTEST_FINGERPRINT = 8  # digits
REVOCATION_SUFFIXES = frozenset({".crl"})
_SEEN = "Seen: "


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whom we trust, and what their authorities have taken back."""

    certificates: tuple[x509.Certificate, ...] = ()
    revocations: tuple[x509.CertificateRevocationList, ...] = ()

    def __add__(self, other: "Trusted") -> "Trusted":
        return Trusted(self.certificates + other.certificates, self.revocations + other.revocations)

    def authorities_of(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """Return the trusted authorities that have issued ``certificate``."""
        return [one for one in self.certificates if one != certificate and has_issued(one, certificate)]

    def path(
        self, certificate: x509.Certificate, others: Sequence[x509.Certificate], below: int = 0
    ) -> list[x509.Certificate]:
        """Return the authorities that vouch for ``certificate``, up to one that is trusted; none if there is none.

        Args:
            certificate: of a server, or of an authority that is not trusted itself.
            others: authorities that are known and not trusted; they count if a trusted one vouches for them.
            below: how many authorities are between the server and what is looked for.
        """
        trusted = [one for one in self.authorities_of(certificate) if allows(one, below)]
        if trusted:
            return [max(trusted, key=lambda one: one.not_valid_after_utc)]
        for number, other in enumerate(others):
            if has_issued(other, certificate) and allows(other, below):
                above = self.path(other, [*others[:number], *others[number + 1 :]], below + 1)
                if above:
                    return [other, *above]
        return []

    def is_revoked(self, certificate: x509.Certificate, others: Sequence[x509.Certificate] = ()) -> bool:
        """Return whether an authority that issued ``certificate`` has taken it back; ``others`` as in ``path``."""
        signers = [*self.authorities_of(certificate), *(one for one in others if has_issued(one, certificate))]
        return any(
            one.issuer == certificate.issuer
            and one.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
            and any(_has_signed(signer, one) for signer in signers)
            for one in self.revocations
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """One certificate of the store, its file, and where it was seen."""

    certificate: x509.Certificate
    file: Path
    seen: tuple[str, ...] = ()


class TrustList:
    """The folders ``trusted`` and ``rejected`` in ``folder``. Every method blocks."""

    def __init__(self, folder: Path) -> None:
        self.trusted_folder = folder / "trusted"
        self.rejected_folder = folder / "rejected"

    def load(self, more: Sequence[Path] = ()) -> Trusted:
        """Read the trust list, and what else is trusted: files, or folders of them.

        Raises:
            DeviceUnavailableError: a file cannot be read or is not a certificate; the message names it.
        """
        return _of_folder(self.trusted_folder) + load_trusted(more)

    def trusted(self) -> list[Kept]:
        """Return what is on the list; errors as ``load``."""
        return [kept for file in files_in(self.trusted_folder) for kept in _kept(file)]

    def rejected(self) -> list[Kept]:
        """Return what was turned away and can still be read."""
        found = []
        for file in files_in(self.rejected_folder):
            with suppress(DeviceUnavailableError):
                found += _kept(file)
        return found

    def reject(self, certificate: x509.Certificate, where: str, now: datetime, reason: str = "") -> None:
        """Keep a certificate that a server showed, so that a person can look at it and trust or renew it.

        Written once for each place and reason, of which a place has the last one: a device that is refused every
        minute does not wear the disk.

        Args:
            certificate: refused; the one whoever is out there chose.
            where: device and address.
            now: with a zone.
            reason: why it was refused, in a few words.

        Raises:
            DeviceUnavailableError: it cannot be written.
        """
        if len(der_of(certificate)) > MAX_CERTIFICATE_BYTES:
            return
        file = self.rejected_folder / f"{fingerprint(certificate)}.pem"
        with locked(self.rejected_folder):  # devices of one server are turned away at the same time
            seen = _seen(content_of(file)) if file.exists() else []
            others = [line for line in seen if _place(line) != where]
            told = f"{where}: {reason}" if reason else where
            if len(others) >= MAX_PLACES or any(line.endswith(f" {told}") for line in seen):
                return
            self._make_room(file)
            write(file, _pem(certificate, [*others, f"{now:%Y-%m-%dT%H:%M:%SZ} {told}"]))

    def add(self, what: str) -> Kept:
        """Trust a certificate: a rejected one by its fingerprint (or its beginning), or that in a file.

        Raises:
            DriverError: there is none of that name, several, or it cannot be read or written.
        """
        path = Path(what)
        if not _is_fingerprint(what) or path.is_file():
            found = [Kept(one, path) for one in load_certificates(path)]
            if len(found) != 1:
                raise DriverError(f"{path} holds {len(found)} certificates; trust them one by one")
            kept = found[0]
        else:
            kept = _by_fingerprint(self.rejected(), what, f"rejected certificate in {self.rejected_folder}")
        file = self.trusted_folder / f"{fingerprint(kept.certificate)}.pem"
        write(file, _pem(kept.certificate, kept.seen))
        if kept.file.parent == self.rejected_folder:
            remove(kept.file)
        return Kept(kept.certificate, file, kept.seen)

    def take_off(self, what: str) -> Kept:
        """Trust a certificate no longer, by its fingerprint (or its beginning); errors as ``add``."""
        kept = _by_fingerprint(self.trusted(), what, f"trusted certificate in {self.trusted_folder}")
        if len(load_certificates(kept.file)) > 1:
            raise DriverError(f"{kept.file} holds several certificates: take this one out with an editor")
        remove(kept.file)
        return kept

    def _make_room(self, newcomer: Path) -> None:
        files = [file for file in files_in(self.rejected_folder) if file != newcomer]
        aged = sorted(files, key=lambda file: file.stat().st_mtime_ns)
        for file in aged[: max(0, len(aged) + 1 - MAX_REJECTED)]:
            remove(file)


def load_trusted(paths: Iterable[Path]) -> Trusted:
    """Read files, or folders of them.

    Raises:
        DeviceUnavailableError: a file cannot be read or is not a certificate; the message names it.
    """
    found = Trusted()
    for path in paths:
        found += _of_folder(path) if path.is_dir() else Trusted(tuple(load_certificates(path)))
    return found


def _of_folder(folder: Path) -> Trusted:
    certificates = [one for file in files_in(folder) for one in load_certificates(file)]
    return Trusted(tuple(certificates), tuple(_revocations(folder)))


def _kept(file: Path) -> list[Kept]:
    seen = tuple(_seen(content_of(file)))
    return [Kept(one, file, seen) for one in load_certificates(file)]


def _seen(content: bytes) -> list[str]:
    above, marker, _ = content.partition(b"-----BEGIN")
    lines = above.decode(errors="replace").splitlines() if marker else []
    return [line.removeprefix(_SEEN) for line in lines if line.startswith(_SEEN)]


def _place(seen: str) -> str:
    """Return device and address of a line that ``reject`` wrote."""
    return seen.partition(" ")[2].partition(": ")[0]


def _pem(certificate: x509.Certificate, seen: Iterable[str]) -> bytes:
    above = "".join(f"{_SEEN}{line}\n" for line in seen)
    return above.encode() + certificate.public_bytes(serialization.Encoding.PEM)


def _is_fingerprint(text: str) -> bool:
    return re.fullmatch(r"[0-9A-Fa-f]{8,64}", text.replace(":", "").replace(" ", "")) is not None


def _by_fingerprint(kept: Iterable[Kept], what: str, kind: str) -> Kept:
    wanted = what.replace(":", "").replace(" ", "").lower()
    if not _is_fingerprint(wanted):
        raise DriverError(f"{what!r} is not a fingerprint: {SHORTEST_FINGERPRINT} to 64 hexadecimal digits")
    found = [one for one in kept if fingerprint(one.certificate).startswith(wanted)]
    if not found:
        raise DriverError(f"no {kind} has the fingerprint {what}; see: edge-agent opcua trust list")
    if len(found) > 1:
        raise DriverError(f"the fingerprints of {len(found)} certificates begin with {what}; write more of it")
    return found[0]


def _revocations(folder: Path) -> list[x509.CertificateRevocationList]:
    found = []
    for file in files_in(folder, REVOCATION_SUFFIXES):
        content = content_of(file)
        try:
            is_pem = b"-----BEGIN" in content
            found.append(x509.load_pem_x509_crl(content) if is_pem else x509.load_der_x509_crl(content))
        except ValueError as exc:
            raise DeviceUnavailableError(f"{file} is not a certificate revocation list: {exc}") from exc
    return found


def _has_signed(signer: x509.Certificate, revocation: x509.CertificateRevocationList) -> bool:
    try:
        return revocation.is_signature_valid(signer.public_key())  # type: ignore[arg-type]  # others raise TypeError
    except (TypeError, ValueError):
        return False
