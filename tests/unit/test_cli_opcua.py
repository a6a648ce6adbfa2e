"""``edge-agent opcua`` as an integrator and a script see it."""

import json
import re
import ssl
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from typer.testing import CliRunner

from edge_agent.cli import main
from edge_agent.cli.exits import ExitCode
from edge_agent_opcua.certificate import fingerprint
from edge_agent_opcua.trust import TrustList
from tests.servers.opcua.certificates import make_certificate

CONFIG = """
gateway: {id: gw-01}
outbox: {directory: state}
publishers: []
devices:
  - id: cnc-07
    driver: opcua
    url: opc.tcp://192.0.2.1
    security_policy: Basic256Sha256
    user: edge
    password: !credential cnc-07-password
    points: [{name: speed, node: "ns=2;s=Speed"}]
"""
SHOWN = make_certificate("urn:example:cnc", key=1)
FINGERPRINT = fingerprint(SHOWN.certificate)


@dataclass(frozen=True)
class Result:
    exit_code: int | str | None
    stdout: str
    stderr: str


def ran(*arguments: object) -> Result:
    with CliRunner().isolation() as (out, err, _):
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        sys.stdout.flush()
        sys.stderr.flush()
        return Result(ended.value.code, out.getvalue().decode(), err.getvalue().decode())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o750)
    file = tmp_path / "agent.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def refused(config: Path) -> Path:
    """Return the configuration after a server was refused."""
    listed = TrustList(config.parent / "state" / "drivers" / "opcua")
    listed.reject(
        SHOWN.certificate, "cnc-07 opc.tcp://192.0.2.1:4840", datetime(2027, 1, 2, tzinfo=UTC), "expired"
    )
    return config


def listed(config: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(ran("opcua", "trust", "list", config, "--json").stdout)
    return entries


def test_a_refused_server_is_shown_trusted_and_taken_off(refused: Path) -> None:
    (entry,) = listed(refused)
    assert entry["standing"] == "rejected"
    assert entry["fingerprint"] == FINGERPRINT
    assert entry["thumbprint"] == SHOWN.certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - as shown
    assert entry["subject"] == "CN=urn:example:cnc"
    assert entry["application_uri"] == "urn:example:cnc"
    assert entry["seen"] == ["2027-01-02T00:00:00Z cnc-07 opc.tcp://192.0.2.1:4840: expired"]
    told = ran("opcua", "trust", "add", refused, FINGERPRINT[:12])
    assert told.exit_code == ExitCode.DONE
    assert "trusted now" in told.stdout
    assert [entry["standing"] for entry in listed(refused)] == ["trusted"]
    assert ran("opcua", "trust", "remove", refused, FINGERPRINT[:12]).exit_code == ExitCode.DONE
    assert listed(refused) == []


def test_the_list_says_how_to_trust_what_was_refused(refused: Path) -> None:
    told = ran("opcua", "trust", "list", refused)
    header, row = told.stdout.splitlines()
    assert header.split("\t") == ["standing", "fingerprint", "subject", "application", "valid until", "seen"]
    assert row.split("\t")[:4] == ["rejected", FINGERPRINT[:16], "CN=urn:example:cnc", "urn:example:cnc"]
    assert f"edge-agent opcua trust add {refused} FINGERPRINT" in told.stderr


def test_the_state_directory_will_do_for_the_configuration(refused: Path) -> None:
    assert listed(refused.parent / "state") == listed(refused)


def test_a_file_is_trusted_and_an_authority_and_what_is_over_are_marked(config: Path, tmp_path: Path) -> None:
    old = make_certificate("urn:example:ca", key=2, is_authority=True, days=(-9, -1))
    file, _ = old.write(tmp_path, "ca")
    assert ran("opcua", "trust", "add", config, file).exit_code == ExitCode.DONE
    row = ran("opcua", "trust", "list", config).stdout.splitlines()[1]
    assert row.split("\t")[4].endswith(", expired, authority")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("trust", "add", "{}", "deadbeef"), "no rejected certificate in .* has the fingerprint deadbeef"),
        (("trust", "add", "{}", "nowhere.der"), r"cannot read nowhere\.der"),
        (("trust", "remove", "{}", "nonsense"), "'nonsense' is not a fingerprint: 8 to 64 hexadecimal digits"),
    ],
)
def test_what_is_not_there_is_told(config: Path, arguments: tuple[str, ...], complaint: str) -> None:
    told = ran("opcua", *(str(config) if one == "{}" else one for one in arguments))
    assert told.exit_code == ExitCode.FAILED
    assert told.stdout == ""
    assert re.search(complaint, told.stderr)


def test_the_own_certificate_is_made_shown_and_given_to_servers(config: Path, tmp_path: Path) -> None:
    for name in ("gateway.der", "gateway.pem"):
        told = ran("opcua", "certificate", config, "--output", tmp_path / name)
        assert told.exit_code == ExitCode.DONE
    der = (tmp_path / "gateway.der").read_bytes()
    certificate = x509.load_der_x509_certificate(der)
    assert ssl.PEM_cert_to_DER_cert((tmp_path / "gateway.pem").read_text()) == der
    grouped = fingerprint(certificate).upper()
    assert ":".join(grouped[i : i + 2] for i in range(0, 64, 2)) in told.stdout
    assert "PRIVATE" not in (tmp_path / "gateway.pem").read_text()
    assert [entry["fingerprint"] for entry in listed(config)] == [fingerprint(certificate)]
    renewed = json.loads(ran("opcua", "certificate", config, "--renew", "--json").stdout)
    assert [entry["fingerprint"] for entry in listed(config)] == [renewed["fingerprint"], fingerprint(certificate)]


def test_a_state_directory_that_is_not_there_is_told(config: Path) -> None:
    (config.parent / "state").rmdir()
    told = ran("opcua", "trust", "list", config)
    assert told.exit_code == ExitCode.FAILED
    assert "is not there yet: start the agent once" in told.stderr
