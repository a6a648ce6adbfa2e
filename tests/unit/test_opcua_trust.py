import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.errors import DeviceUnavailableError, DriverError
from edge_agent_opcua import trust
from edge_agent_opcua.certificate import fingerprint
from edge_agent_opcua.store import Store
from edge_agent_opcua.trust import TrustList
from tests.servers.opcua.certificates import make_certificate

NOW = datetime(2027, 3, 1, tzinfo=UTC)
FIRST, SECOND = (make_certificate(f"urn:example:{name}", key=1) for name in ("first", "second"))


@pytest.fixture
def known(tmp_path: Path) -> TrustList:
    return TrustList(tmp_path)


def test_nothing_there_is_nobody_trusted(known: TrustList) -> None:
    assert known.load().certificates == ()
    assert known.rejected() == []


def test_what_was_turned_away_is_kept_with_where_it_was_seen(known: TrustList) -> None:
    known.reject(FIRST.certificate, "cnc-07 opc.tcp://a", NOW)
    known.reject(FIRST.certificate, "cnc-08 opc.tcp://b", NOW)
    (kept,) = known.rejected()
    assert kept.certificate == FIRST.certificate
    assert kept.seen == ("2027-03-01T00:00:00Z cnc-07 opc.tcp://a", "2027-03-01T00:00:00Z cnc-08 opc.tcp://b")


def test_the_same_again_writes_nothing(known: TrustList) -> None:
    known.reject(FIRST.certificate, "cnc-07 opc.tcp://a", NOW)
    (file,) = known.rejected_folder.glob("*.pem")
    os.utime(file, (1, 1))
    known.reject(FIRST.certificate, "cnc-07 opc.tcp://a", NOW)
    assert file.stat().st_mtime == 1


def test_a_place_has_the_reason_that_was_the_last_one_and_others_keep_theirs(known: TrustList) -> None:
    known.reject(FIRST.certificate, "cnc-07 opc.tcp://a", NOW)
    known.reject(FIRST.certificate, "cnc-08 opc.tcp://b", NOW, "not trusted")
    for _ in range(2):
        known.reject(FIRST.certificate, "cnc-07 opc.tcp://a", NOW, "expired")
    (kept,) = known.rejected()
    assert [line.partition(" ")[2] for line in kept.seen] == [
        "cnc-08 opc.tcp://b: not trusted",
        "cnc-07 opc.tcp://a: expired",
    ]
    os.utime(kept.file, (1, 1))
    known.reject(FIRST.certificate, "cnc-07 opc.tcp://a", NOW, "expired")
    assert kept.file.stat().st_mtime == 1


def test_who_shows_new_certificates_for_ever_fills_no_disk(
    known: TrustList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "MAX_REJECTED", 3)
    shown = [make_certificate(f"urn:example:{number}", key=1) for number in range(5)]
    for number, pair in enumerate(shown):
        known.reject(pair.certificate, "cnc-07 opc.tcp://a", NOW)
        os.utime(known.rejected_folder / f"{fingerprint(pair.certificate)}.pem", (number, number))
    assert {kept.certificate for kept in known.rejected()} == {pair.certificate for pair in shown[2:]}
    monkeypatch.setattr(trust, "MAX_CERTIFICATE_BYTES", 100)
    known.reject(FIRST.certificate, "cnc-07 opc.tcp://a", NOW)
    assert len(known.rejected()) == 3
    monkeypatch.undo()
    for number in range(30):
        known.reject(shown[4].certificate, f"cnc-{number} opc.tcp://a", NOW)
    assert all(len(kept.seen) <= trust.MAX_PLACES for kept in known.rejected())


def test_more_devices_than_are_noted_do_not_wear_the_disk(known: TrustList) -> None:
    places = [f"cnc-{number} opc.tcp://a" for number in range(trust.MAX_PLACES + 1)]
    for place in places:
        known.reject(FIRST.certificate, place, NOW)
    (kept,) = known.rejected()
    os.utime(kept.file, (1, 1))
    for place in places:
        known.reject(FIRST.certificate, place, NOW)
    assert kept.file.stat().st_mtime == 1


def test_devices_that_are_turned_away_at_the_same_time_are_all_noted(known: TrustList) -> None:
    places = [f"cnc-{number} opc.tcp://a" for number in range(trust.MAX_PLACES)]
    with ThreadPoolExecutor(len(places)) as threads:
        list(threads.map(lambda place: known.reject(FIRST.certificate, place, NOW), places))
    (kept,) = known.rejected()
    assert {line.partition(" ")[2] for line in kept.seen} == set(places)


@pytest.mark.parametrize("form", ["whole", "beginning", "colons"])
def test_a_rejected_certificate_is_trusted_by_its_fingerprint(known: TrustList, form: str) -> None:
    known.reject(FIRST.certificate, "cnc-07 opc.tcp://a", NOW)
    whole = fingerprint(FIRST.certificate)
    colons = ":".join(whole[i : i + 2] for i in range(0, 64, 2)).upper()
    added = known.add({"whole": whole, "beginning": whole[:8], "colons": colons}[form])
    assert known.rejected() == []
    assert known.load().certificates == (FIRST.certificate,)
    assert known.trusted() == [added]
    assert added.seen == ("2027-03-01T00:00:00Z cnc-07 opc.tcp://a",)


@pytest.mark.parametrize("suffix", [".pem", ".der"])
def test_a_certificate_in_a_file_is_trusted(known: TrustList, tmp_path: Path, suffix: str) -> None:
    file = FIRST.write(tmp_path / "given", "server")[0] if suffix == ".pem" else tmp_path / "server.der"
    if suffix == ".der":
        file.write_bytes(FIRST.der)
    known.add(str(file))
    assert known.load().certificates == (FIRST.certificate,)
    assert file.exists()


def test_one_that_is_taken_off_is_trusted_no_longer(known: TrustList, tmp_path: Path) -> None:
    for name, pair in (("a", FIRST), ("b", SECOND)):
        known.add(str(pair.write(tmp_path / "given", name)[0]))
    known.take_off(fingerprint(FIRST.certificate))
    assert known.load().certificates == (SECOND.certificate,)


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("0123abcd", "no rejected certificate in .* has the fingerprint 0123abcd"),
        ("0123", "cannot read 0123: No such file"),
        ("nowhere.pem", r"cannot read nowhere\.pem: No such file"),
    ],
)
def test_what_cannot_be_trusted_is_told(known: TrustList, what: str, complaint: str) -> None:
    with pytest.raises(DriverError, match=complaint):
        known.add(what)


def test_a_beginning_that_several_have_trusts_none(known: TrustList, monkeypatch: pytest.MonkeyPatch) -> None:
    for pair in (FIRST, SECOND):
        known.reject(pair.certificate, "cnc opc.tcp://a", NOW)
    monkeypatch.setattr(trust, "fingerprint", lambda _: "00" * 32)
    with pytest.raises(DriverError, match="2 certificates begin with 00000000"):
        known.add("00000000")


def test_a_file_in_the_list_that_is_no_certificate_is_named_and_one_among_the_rejected_is_passed_over(
    known: TrustList,
) -> None:
    known.reject(FIRST.certificate, "cnc opc.tcp://a", NOW)
    (known.rejected_folder / "x.pem").write_text("nonsense")
    assert len(known.rejected()) == 1
    known.add(fingerprint(FIRST.certificate))
    (known.trusted_folder / "x.pem").write_text("nonsense")
    with pytest.raises(DeviceUnavailableError, match=r"x\.pem is not a certificate"):
        known.load()


def test_a_bundle_of_authorities_counts_whole(known: TrustList, tmp_path: Path) -> None:
    files = [pair.write(tmp_path / "given", name)[0] for name, pair in (("a", FIRST), ("b", SECOND))]
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("".join(file.read_text() for file in files))
    assert set(known.load([bundle]).certificates) == {FIRST.certificate, SECOND.certificate}
    with pytest.raises(DriverError, match="holds 2 certificates; trust them one by one"):
        known.add(str(bundle))


def test_what_a_certificate_says_breaks_no_table(tmp_path: Path) -> None:
    hostile = make_certificate("urn:example:cnc", key=1, name="cnc\ntrusted\t\x1b[2Jcnc")
    TrustList(tmp_path).reject(hostile.certificate, "cnc-07 opc.tcp://a", NOW)
    (entry,) = (one for one in Store(tmp_path).entries() if one.standing.value == "rejected")
    assert entry.subject.isprintable()
    assert entry.issuer.isprintable()
    assert entry.application_uri == "urn:example:cnc"
