"""The driver's certificates as ``edge-agent opcua`` shows and changes them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from edge_agent.certificates import CertificateEntry, CertificateStanding
from edge_agent.clock import SystemClock
from edge_agent_opcua.certificate import fingerprint, is_authority, thumbprint, uris, visible
from edge_agent_opcua.own import Identity, OwnCertificates
from edge_agent_opcua.trust import Kept, TrustList


class Store:
    """See ``edge_agent.certificates.CertificateStore``."""

    def __init__(self, directory: Path) -> None:
        self._own = OwnCertificates(directory / "own")
        self._list = TrustList(directory)

    def entries(self) -> Sequence[CertificateEntry]:
        trusted = self._list.load()
        return [
            *map(_own, self._own.all()),
            *(
                _entry(
                    CertificateStanding.TRUSTED,
                    kept.certificate,
                    kept.file,
                    seen=kept.seen,
                    is_revoked=trusted.is_revoked(kept.certificate),
                )
                for kept in self._list.trusted()
            ),
            *(_kept(CertificateStanding.REJECTED, kept) for kept in self._list.rejected()),
        ]

    def trust(self, what: str) -> CertificateEntry:
        return _kept(CertificateStanding.TRUSTED, self._list.add(what))

    def distrust(self, what: str) -> CertificateEntry:
        return _kept(CertificateStanding.TRUSTED, self._list.take_off(what))

    def own(self) -> CertificateEntry:
        return _own(self._own.usable(_now())[0])

    def renew(self) -> CertificateEntry:
        return _own(self._own.renew(_now()))


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now_ns() / 1e9, UTC)


def _own(identity: Identity) -> CertificateEntry:
    return _entry(CertificateStanding.OWN, identity.certificate, identity.file)


def _kept(standing: CertificateStanding, kept: Kept) -> CertificateEntry:
    return _entry(standing, kept.certificate, kept.file, seen=kept.seen)


def _entry(
    standing: CertificateStanding,
    certificate: x509.Certificate,
    file: Path,
    *,
    seen: tuple[str, ...] = (),
    is_revoked: bool = False,
) -> CertificateEntry:
    return CertificateEntry(
        standing,
        fingerprint(certificate),
        thumbprint(certificate),
        visible(certificate.subject.rfc4514_string()),
        visible(certificate.issuer.rfc4514_string()),
        visible(next(iter(uris(certificate)), "")),
        _ns(certificate.not_valid_before_utc),
        _ns(certificate.not_valid_after_utc),
        file,
        is_authority=is_authority(certificate),
        is_revoked=is_revoked,
        seen=seen,
    )


def _ns(time: datetime) -> int:
    return round(time.timestamp()) * 10**9
