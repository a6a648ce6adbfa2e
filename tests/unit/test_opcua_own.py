import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.certificate import hosts, rsa_bits, uris
from edge_agent_opcua.own import RENEW_BEFORE, VALID_FOR, Identity, OwnCertificates
from edge_agent_opcua.store import Store
from tests.servers.opcua.certificates import make_certificate

NOW = datetime(2027, 3, 1, tzinfo=UTC)


@pytest.fixture
def own(tmp_path: Path) -> OwnCertificates:
    return OwnCertificates(tmp_path / "drivers" / "opcua" / "own")


def extension(identity: Identity, kind: type[x509.ExtensionType]) -> x509.ExtensionType:
    return identity.certificate.extensions.get_extension_for_class(kind).value


def test_the_first_start_makes_a_certificate_that_says_who_we_are(
    own: OwnCertificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "GW_01.plant")
    (made,) = own.usable(NOW)
    assert uris(made.certificate) == [made.application_uri] == ["urn:edge-agent:gw-01.plant"]
    assert hosts(made.certificate) == {"gw-01.plant"}
    assert rsa_bits(made.certificate) >= 2048
    assert (
        made.certificate.not_valid_before_utc
        < NOW
        < NOW + timedelta(days=365)
        < made.certificate.not_valid_after_utc
    )
    assert extension(made, x509.BasicConstraints) == x509.BasicConstraints(ca=False, path_length=None)


def test_the_key_is_for_the_agent_alone_and_the_certificate_for_everybody(own: OwnCertificates) -> None:
    (made,) = own.usable(NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.file.parent.glob("*.pem")}
    assert modes == {"key-1.pem": 0o600, "certificate-1.pem": 0o644}


def test_it_is_kept_across_restarts_and_changes_of_the_machine(
    own: OwnCertificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = own.usable(NOW)
    monkeypatch.setattr("socket.gethostname", lambda: "renamed")
    assert OwnCertificates(first[0].file.parent).usable(NOW + timedelta(days=400)) == first


def test_devices_that_start_at_once_share_one(own: OwnCertificates) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: own.usable(NOW), range(8)))
    assert len({one.certificate_der for (one,) in made}) == 1


def test_it_is_renewed_in_time_under_its_name_and_the_old_one_stays_until_it_ends(own: OwnCertificates) -> None:
    (first,) = own.usable(NOW)
    late = NOW + VALID_FOR - RENEW_BEFORE + timedelta(days=1)
    renewed, old = own.usable(late)
    assert old == first
    assert renewed.application_uri == first.application_uri
    assert renewed.private_key_der != first.private_key_der
    assert own.usable(late + timedelta(days=1)) == [renewed, first]
    assert own.usable(NOW + VALID_FOR + timedelta(days=1)) == [renewed]


def test_a_gateway_that_was_off_for_years_makes_a_new_one(own: OwnCertificates) -> None:
    (first,) = own.usable(NOW)
    (made,) = own.usable(NOW + 2 * VALID_FOR)
    assert made != first


def test_nothing_is_made_while_the_clock_is_not_set(own: OwnCertificates) -> None:
    with pytest.raises(DeviceUnavailableError, match=r"clock of this gateway shows 1970-01-01: set it"):
        own.usable(datetime(1970, 1, 1, tzinfo=UTC))
    assert own.all() == []


@pytest.mark.parametrize("name", ["certificate-1.pem", "key-1.pem"])
def test_a_damaged_file_is_told_and_never_replaced(own: OwnCertificates, name: str) -> None:
    (made,) = own.usable(NOW)
    damaged = made.file.with_name(name)
    damaged.write_bytes(b"")
    with pytest.raises(DeviceUnavailableError, match=name):
        own.usable(NOW)
    assert damaged.read_bytes() == b""


def test_a_power_cut_between_key_and_certificate_leaves_nothing_that_counts(own: OwnCertificates) -> None:
    (made,) = own.usable(NOW)
    made.file.unlink()
    (again,) = own.usable(NOW)
    assert again != made
    assert own.usable(NOW) == [again]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_beside_the_agent_belongs_to_the_agent(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    store = Store(tmp_path / "drivers" / "opcua")
    store.own()
    store.trust(str(make_certificate("urn:example:cnc", key=1).write(tmp_path / "given", "server")[0]))
    made = [tmp_path / "drivers", *(tmp_path / "drivers").rglob("*")]
    assert len(made) == 8
    assert {path.stat().st_uid for path in made} == {65534}


def test_a_disk_that_takes_no_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("a file")
    with pytest.raises(DeviceUnavailableError, match="cannot use"):
        OwnCertificates(tmp_path / "own").usable(NOW)
