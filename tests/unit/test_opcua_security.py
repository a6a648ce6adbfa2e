from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.certificate import chain
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.security import UntrustedError, check_server, load_credentials
from edge_agent_opcua.trust import Trusted
from tests.servers.opcua.certificates import Pair, make_certificate

NOW = datetime.now(UTC)
URI = "urn:example:cnc"
SERVER = make_certificate(URI, key=1)
AUTHORITY = make_certificate("urn:example:authority", key=2, is_authority=True)
ISSUED = make_certificate(URI, key=1, issuer=AUTHORITY)


def config(url: str = "opc.tcp://127.0.0.1", **keys: Any) -> OpcUaDevice:
    written = {"id": "cnc", "driver": "opcua", "url": url, "points": [{"name": "a", "node": "i=1"}]}
    return OpcUaDevice.model_validate(written | {"security_policy": "Basic256Sha256"} | keys)


def judge(shown: Pair, *trusted: Pair, uri: str = URI, now: datetime = NOW, **keys: Any) -> None:
    certificates = Trusted(tuple(pair.certificate for pair in trusted))
    check_server([shown.certificate], uri, config(**keys), certificates, now)


def revocations(authority: Pair, *revoked: Pair, signed_by: Pair | None = None) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=authority.certificate.subject, last_update=NOW, next_update=NOW + timedelta(days=1)
    )
    for pair in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder(
                serial_number=pair.certificate.serial_number, revocation_date=NOW
            ).build()
        )
    return builder.sign((signed_by or authority).key, hashes.SHA256())


def test_a_listed_certificate_is_trusted() -> None:
    judge(SERVER, SERVER)


def test_a_listed_certificate_is_trusted_at_any_address() -> None:
    judge(SERVER, SERVER, url="opc.tcp://10.0.0.9")


def test_an_unknown_certificate_is_refused_with_its_fingerprint_and_the_remedy() -> None:
    told = r"not trusted.*SHA-256.*edge-agent opcua trust add CONFIG [0-9a-f]{16}$"
    with pytest.raises(UntrustedError, match=told):
        judge(SERVER, make_certificate(URI, key=3))


@pytest.mark.parametrize(
    ("days", "complaint"),
    [((-10, -1), "has expired on .* renew it on the server"), ((1, 10), "valid from .* only: .* clock of this")],
)
def test_a_listed_certificate_is_refused_out_of_its_time(days: tuple[int, int], complaint: str) -> None:
    late = make_certificate(URI, key=1, days=days)
    with pytest.raises(DeviceUnavailableError, match=complaint):
        judge(late, late)


def test_a_certificate_of_another_application_is_refused_unless_it_is_written() -> None:
    with pytest.raises(DeviceUnavailableError, match="names urn:example:cnc, the server says urn:other"):
        judge(SERVER, SERVER, uri="urn:other")
    judge(SERVER, SERVER, uri="urn:other", insecure_server_uri=True)


def test_what_a_listed_authority_issued_is_trusted_at_its_own_address_only() -> None:
    judge(ISSUED, AUTHORITY)
    judge(ISSUED, AUTHORITY, url="opc.tcp://LOCALHOST")
    with pytest.raises(DeviceUnavailableError, match=r"is not for 10\.0\.0\.9.*in `url:`"):
        judge(ISSUED, AUTHORITY, url="opc.tcp://10.0.0.9")
    judge(ISSUED, AUTHORITY, ISSUED, url="opc.tcp://10.0.0.9")


def test_an_expired_authority_vouches_for_nobody() -> None:
    expired = make_certificate("urn:example:authority", key=2, is_authority=True, days=(-10, -1))
    with pytest.raises(DeviceUnavailableError, match="authority that vouches for the server has expired"):
        judge(ISSUED, expired)
    judge(ISSUED, expired, AUTHORITY)  # its successor, of the same name and key, does


def test_a_certificate_that_is_no_authority_vouches_for_nobody() -> None:
    with pytest.raises(UntrustedError):
        judge(make_certificate(URI, key=3, issuer=SERVER), SERVER)


def test_an_authority_whose_key_is_not_for_certificates_vouches_for_nobody_and_is_named() -> None:
    other = make_certificate("urn:example:authority", key=2, is_authority=True, signs=False)
    with pytest.raises(
        UntrustedError, match=r"urn:example:authority .* is no authority \(a CA with keyCertSign\)"
    ):
        judge(make_certificate(URI, key=1, issuer=other), other)


def test_an_authority_that_allows_none_below_it_is_named() -> None:
    strict = make_certificate("urn:example:authority", key=2, is_authority=True, path_length=0)
    judge(make_certificate(URI, key=1, issuer=strict), strict)
    middle = make_certificate("urn:example:middle", key=4, is_authority=True, issuer=strict)
    shown = [make_certificate(URI, key=1, issuer=middle).certificate, middle.certificate]
    with pytest.raises(UntrustedError, match=r"urn:example:authority .* allows no other authority in between"):
        check_server(shown, URI, config(), Trusted((strict.certificate,)), NOW)
    loose = make_certificate("urn:example:authority", key=2, is_authority=True, path_length=1)
    check_server(shown, URI, config(), Trusted((loose.certificate,)), NOW)


def test_an_authority_of_the_same_name_with_another_key_vouches_for_nobody() -> None:
    impostor = make_certificate("urn:example:authority", key=3, is_authority=True)
    with pytest.raises(UntrustedError):
        judge(make_certificate(URI, key=1, issuer=impostor), AUTHORITY)


def test_what_its_authority_has_revoked_is_refused_also_if_it_is_listed() -> None:
    trusted = Trusted((AUTHORITY.certificate, ISSUED.certificate), (revocations(AUTHORITY, ISSUED),))
    with pytest.raises(DeviceUnavailableError, match="was revoked by its authority"):
        check_server([ISSUED.certificate], URI, config(), trusted, NOW)


@pytest.mark.parametrize(
    "revoked",
    [revocations(AUTHORITY, SERVER), revocations(AUTHORITY, ISSUED, signed_by=SERVER)],
    ids=["another", "forged"],
)
def test_a_revocation_list_counts_for_what_is_on_it_if_its_authority_signed_it(
    revoked: x509.CertificateRevocationList,
) -> None:
    check_server([ISSUED.certificate], URI, config(), Trusted((AUTHORITY.certificate,), (revoked,)), NOW)


def test_a_chain_is_read_as_far_as_it_can_be() -> None:
    both = [SERVER.certificate, AUTHORITY.certificate]
    assert chain(SERVER.der + AUTHORITY.der) == both
    assert chain(SERVER.der + AUTHORITY.der + b"\x30\x82\x00\x01\x00") == both
    assert len(chain(SERVER.der * 100)) < 10


MIDDLE = make_certificate("urn:example:middle", key=4, is_authority=True, issuer=AUTHORITY)
BELOW = make_certificate(URI, key=1, issuer=MIDDLE)


def test_an_authority_that_the_server_shows_counts_if_a_listed_one_vouches_for_it() -> None:
    shown, trusted = [BELOW.certificate, MIDDLE.certificate], Trusted((AUTHORITY.certificate,))
    check_server(shown, URI, config(), trusted, NOW)
    with pytest.raises(UntrustedError):
        check_server(shown[:1], URI, config(), trusted, NOW)
    with pytest.raises(UntrustedError):
        check_server(shown, URI, config(), Trusted((SERVER.certificate,)), NOW)


@pytest.mark.parametrize("revoked", [revocations(AUTHORITY, MIDDLE), revocations(MIDDLE, BELOW)])
def test_what_is_revoked_on_the_way_is_refused(revoked: x509.CertificateRevocationList) -> None:
    trusted = Trusted((AUTHORITY.certificate,), (revoked,))
    with pytest.raises(DeviceUnavailableError, match="was revoked"):
        check_server([BELOW.certificate, MIDDLE.certificate], URI, config(), trusted, NOW)


def test_a_shown_authority_out_of_its_time_is_refused() -> None:
    late = make_certificate("urn:example:middle", key=4, is_authority=True, issuer=AUTHORITY, days=(-10, -1))
    with pytest.raises(DeviceUnavailableError, match="authority that vouches for the server has expired"):
        check_server([BELOW.certificate, late.certificate], URI, config(), Trusted((AUTHORITY.certificate,)), NOW)


def test_what_a_certificate_says_steers_no_terminal() -> None:
    hostile = make_certificate("urn:\x1b[31m", key=1)
    with pytest.raises(UntrustedError) as told:
        judge(hostile)
    assert str(told.value).isprintable()


def test_credentials_are_read_from_files(tmp_path: Path) -> None:
    certificate, key = SERVER.write(tmp_path, "own")
    more = tmp_path / "more"
    AUTHORITY.write(more, "a")
    (more / "b.der").write_bytes(SERVER.der)
    (more / "README").write_text("not a certificate")
    (more / "a.key").unlink()
    keys = {"certificate": str(certificate), "private_key": str(key), "trusted": str(more)}
    credentials = load_credentials(config(**keys), tmp_path / "store", NOW)
    (own,) = credentials.identities
    assert own.application_uri == URI
    assert own.certificate_der == SERVER.der
    assert set(credentials.trusted.certificates) == {AUTHORITY.certificate, SERVER.certificate}
    assert not (tmp_path / "store" / "own").exists()  # none is made where one is configured


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("own.pem", "own.pem is not a certificate"),
        ("own.key", "own.key is not a private key without a passphrase"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path: Path, broken: str, complaint: str) -> None:
    certificate, key = SERVER.write(tmp_path, "own")
    (tmp_path / broken).write_text("-----BEGIN NONSENSE-----")
    with pytest.raises(DeviceUnavailableError, match=complaint):
        load_credentials(config(certificate=str(certificate), private_key=str(key)), tmp_path, NOW)


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    certificate, _ = SERVER.write(tmp_path, "own")
    _, key = AUTHORITY.write(tmp_path, "other")
    with pytest.raises(DeviceUnavailableError, match=r"other\.key is not the key of .*own\.pem"):
        load_credentials(config(certificate=str(certificate), private_key=str(key)), tmp_path, NOW)


@pytest.mark.parametrize("days", [(-60, -1), (1, 60)])
def test_an_own_certificate_out_of_its_time_is_told(tmp_path: Path, days: tuple[int, int]) -> None:
    certificate, key = make_certificate(URI, key=1, days=days).write(tmp_path, "own")
    with pytest.raises(DeviceUnavailableError, match=r"our certificate .*renew `certificate:`"):
        load_credentials(config(certificate=str(certificate), private_key=str(key)), tmp_path, NOW)
