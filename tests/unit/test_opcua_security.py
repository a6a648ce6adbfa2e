from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.security import Credentials, Identity, check_own, check_server, leaf, load_credentials
from tests.servers.opcua.certificates import Pair, make_certificate

NOW = datetime.now(UTC)
URI = "urn:example:cnc"


@pytest.fixture(scope="module")
def server() -> Pair:
    return make_certificate(URI, key=1)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_certificate("urn:example:authority", key=2, is_authority=True)


def trusting(*pairs: Pair) -> Credentials:
    own = Identity(pairs[0].certificate, b"", "urn:own")
    return Credentials(own, tuple(pair.certificate for pair in pairs), "/etc/edge-agent/trusted")


def test_a_listed_certificate_is_trusted(server: Pair) -> None:
    check_server(server.certificate, URI, trusting(server), NOW)


def test_a_listed_certificate_is_trusted_whatever_its_application_is_called(server: Pair) -> None:
    check_server(server.certificate, "urn:renamed", trusting(server), NOW)


def test_an_unknown_certificate_is_refused_with_its_fingerprint_and_the_remedy(server: Pair) -> None:
    same_name = make_certificate(URI, key=3)
    with pytest.raises(DeviceUnavailableError, match=r"not trusted.*SHA-256.*into /etc/edge-agent/trusted"):
        check_server(server.certificate, URI, trusting(same_name), NOW)


@pytest.mark.parametrize(
    ("days", "complaint"),
    [((-10, -1), "has expired on .* renew it on the server"), ((1, 10), "valid from .* only: .* set the clock")],
)
def test_a_listed_certificate_is_refused_out_of_its_time(days: tuple[int, int], complaint: str) -> None:
    late = make_certificate(URI, key=1, days=days)
    with pytest.raises(DeviceUnavailableError, match=complaint):
        check_server(late.certificate, URI, trusting(late), NOW)


def test_what_a_listed_authority_issued_is_trusted_under_its_own_name_only(authority: Pair) -> None:
    issued = make_certificate(URI, key=1, issuer=authority)
    check_server(issued.certificate, URI, trusting(authority), NOW)
    with pytest.raises(DeviceUnavailableError, match="belongs to another application than 'urn:other'"):
        check_server(issued.certificate, "urn:other", trusting(authority), NOW)


def test_an_expired_authority_vouches_for_nobody() -> None:
    expired = make_certificate("urn:example:authority", key=2, is_authority=True, days=(-10, -1))
    issued = make_certificate(URI, key=1, issuer=expired)
    with pytest.raises(DeviceUnavailableError, match="has expired"):
        check_server(issued.certificate, URI, trusting(expired), NOW)


def test_a_certificate_that_is_no_authority_vouches_for_nobody(server: Pair) -> None:
    forged = make_certificate(URI, key=3, issuer=server)
    with pytest.raises(DeviceUnavailableError, match="not trusted"):
        check_server(forged.certificate, URI, trusting(server), NOW)


def test_an_authority_of_the_same_name_with_another_key_vouches_for_nobody(authority: Pair) -> None:
    impostor = make_certificate("urn:example:authority", key=3, is_authority=True)
    issued = make_certificate(URI, key=1, issuer=impostor)
    with pytest.raises(DeviceUnavailableError, match="not trusted"):
        check_server(issued.certificate, URI, trusting(authority), NOW)


def test_the_own_certificate_is_refused_out_of_its_time(server: Pair) -> None:
    check_own(server.certificate, NOW)
    with pytest.raises(DeviceUnavailableError, match="our certificate has expired"):
        check_own(server.certificate, NOW + timedelta(days=60))
    with pytest.raises(DeviceUnavailableError, match="set the clock of this gateway"):
        check_own(server.certificate, NOW - timedelta(days=60))


def test_the_first_certificate_of_a_chain_counts(server: Pair, authority: Pair) -> None:
    assert leaf(server.der + authority.der) == server.certificate


def test_credentials_are_read_from_files(server: Pair, authority: Pair, tmp_path: Path) -> None:
    certificate, key = server.write(tmp_path, "own")
    (tmp_path / "trusted").mkdir()
    authority.write(tmp_path / "trusted", "a")
    (tmp_path / "trusted" / "b.der").write_bytes(server.der)
    (tmp_path / "trusted" / "README").write_text("not a certificate")
    config = _config(certificate, key, tmp_path / "trusted")
    credentials = load_credentials(config)
    assert credentials.identity.application_uri == URI
    assert credentials.identity.certificate_der == server.der
    assert set(credentials.trusted) == {authority.certificate, server.certificate}


def test_an_empty_folder_trusts_nobody(server: Pair, tmp_path: Path) -> None:
    certificate, key = server.write(tmp_path, "own")
    (tmp_path / "trusted").mkdir()
    assert load_credentials(_config(certificate, key, tmp_path / "trusted")).trusted == ()


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("own.pem", "own.pem is not a certificate"),
        ("own.key", "own.key is not a private key without a passphrase"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    server: Pair, tmp_path: Path, broken: str, complaint: str
) -> None:
    certificate, key = server.write(tmp_path, "own")
    (tmp_path / broken).write_text("-----BEGIN NONSENSE-----")
    with pytest.raises(DeviceUnavailableError, match=complaint):
        load_credentials(_config(certificate, key, certificate))


def _config(certificate: Path, key: Path, trusted: Path) -> OpcUaDevice:
    return OpcUaDevice.model_validate(
        {
            "id": "cnc",
            "driver": "opcua",
            "url": "opc.tcp://cnc",
            "security_policy": "Basic256Sha256",
            "certificate": str(certificate),
            "private_key": str(key),
            "trusted": str(trusted),
            "points": [{"name": "a", "node": "i=1"}],
        }
    )
