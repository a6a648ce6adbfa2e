"""What the doctor sees, and what it leaves out of a support archive."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme

from edge_agent.doctor import machine as machines
from edge_agent.doctor.finding import Finding, Standing
from edge_agent.doctor.machine import machine, state_directory
from edge_agent.doctor.redact import redact
from edge_agent.doctor.site import _serial_port, certificates
from edge_agent.outbox.options import OutboxOptions

MIB = 1024 * 1024


def standing(findings: Iterator[Finding], subject: str) -> tuple[Standing, str]:
    (found,) = [one for one in findings if one.subject == subject]
    assert bool(found.remedy) is (found.standing is not Standing.OK)  # what is not well has a way out
    return found.standing, found.found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password: hunter2", "password: ***"),
        ("    mqtt_password : 'hunter2'  # old", "    mqtt_password : ***"),
        ("# Password: hunter2", "# Password: ***"),
        ("{user: a, token: hunter2, host: h}", "{user: a, token: ***"),
        ('{"apiKey": "hunter2"}', '{"apiKey": ***'),
        ("密码：hunter2", "密码：***"),
        ("password: !credential mqtt-password", "password: !credential mqtt-password"),
        ("password: !file secrets/mqtt", "password: !file secrets/mqtt"),
        ("url: mqtt://me:hunter2@host:1883", "url: mqtt://***@host:1883"),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nb", "a\n***\nb"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2", "***"),
        ("host: 10.0.0.5\nunit: 3\nname: press", "host: 10.0.0.5\nunit: 3\nname: press"),
    ],
)
def test_what_may_be_a_secret_is_taken_out_and_nothing_else(text: str, left: str) -> None:
    assert redact(text) == left


@pytest.mark.parametrize(("off_s", "is_well"), [(0, True), (200, True), (-4000, False), (4000, False)])
def test_a_battery_clock_that_is_off_is_told(tmp_path: Path, off_s: int, *, is_well: bool) -> None:
    (tmp_path / "since_epoch").write_text(f"{int(time.time()) + off_s}\n")
    found, text = standing(machine(rtc=tmp_path), "battery clock")
    assert found is (Standing.OK if is_well else Standing.WARN)
    assert "s off" in text


def test_a_box_without_a_battery_clock_is_told(tmp_path: Path) -> None:
    assert standing(machine(rtc=tmp_path / "none"), "battery clock")[0] is Standing.WARN


def test_a_disk_that_keeps_is_well(tmp_path: Path) -> None:
    found, text = standing(state_directory(OutboxOptions(tmp_path)), "state directory")
    assert found is not Standing.FAIL
    assert "a sync takes" in text
    assert not list(tmp_path.iterdir())


def test_a_state_directory_that_cannot_be_looked_at_is_a_finding(tmp_path: Path) -> None:
    found = standing(state_directory(OutboxOptions(tmp_path / ("x" * 300))), "state directory")
    assert found == (Standing.FAIL, f"{tmp_path}/{'x' * 300} cannot be looked at: File name too long")


@pytest.mark.parametrize(
    ("sync_s", "expected"), [(0.001, Standing.OK), (0.3, Standing.WARN), (3.0, Standing.FAIL)]
)
def test_a_slow_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync_s: float, expected: Standing
) -> None:
    monkeypatch.setattr(machines, "_sync_times_s", lambda _: [sync_s] * 20)
    assert standing(state_directory(OutboxOptions(tmp_path)), "state directory")[0] is expected


def test_a_state_directory_in_memory_is_a_failure() -> None:
    with TemporaryDirectory(dir="/dev/shm", prefix="doctor-") as name:
        found = [one for one in state_directory(OutboxOptions(Path(name))) if one.standing is Standing.FAIL]
    assert ["in memory (tmpfs)" in one.found for one in found][:1] == [True]


@pytest.mark.parametrize(
    ("limit", "reserve", "expected"),
    [(16 * MIB, MIB, Standing.OK), (2**60, MIB, Standing.WARN), (16 * MIB, 2**60, Standing.FAIL)],
)
def test_space_is_weighed_against_the_limits(tmp_path: Path, limit: int, reserve: int, expected: Standing) -> None:
    options = OutboxOptions(tmp_path, max_bytes=limit, reserve_bytes=reserve)
    assert standing(state_directory(options), "space")[0] is expected


@pytest.mark.parametrize(
    ("days", "expected"), [(-1, Standing.FAIL), (10, Standing.WARN), (59, Standing.WARN), (90, Standing.OK)]
)
def test_certificates_are_told_before_they_end(tmp_path: Path, days: int, expected: Standing) -> None:
    end = datetime.now(UTC) + timedelta(days=days, hours=1)
    issued = trustme.CA().issue_cert("box", not_after=end)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    issued.private_key_pem.write_to_path(tmp_path / "own.key")  # is none, and passed over
    (tmp_path / "password").write_text("hunter2")
    (found,) = certificates([tmp_path])
    assert (found.standing, "hunter2" in str(found)) == (expected, False)
    assert list(certificates([tmp_path / "none"])) == []


def test_a_serial_port_that_is_away_or_is_none_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert _serial_port(tmp_path / "away", "").standing is Standing.FAIL
    assert _serial_port(tmp_path / "file", "").standing is Standing.FAIL
    master, slave = os.openpty()
    try:
        assert _serial_port(Path(os.ttyname(slave)), "").standing is Standing.OK
    finally:
        os.close(master)
        os.close(slave)
