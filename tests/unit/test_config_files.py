"""Files that a device names: told at their place when they are not there, before anything is connected."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edge_agent.config import load
from edge_agent.errors import ConfigError
from edge_agent.registry import Registry
from tests.cases.config.kit import HEAD

MODBUS = "{id: a, driver: modbus, host: h, tls: {%s}, points: [{name: p, holding: 1, type: uint16}]}"
OPC_UA = (
    "{id: a, driver: opcua, url: opc.tcp://h, security_policy: Basic256Sha256, %s, points: [{name: p, node: i=1}]}"
)


def problems(folder: Path, device: str) -> list[str]:
    path = folder / "agent.yaml"
    path.write_text(f"{HEAD}devices:\n  - {device}\n")
    try:
        load(path, Registry())
    except ConfigError as exc:
        return [str(one).removeprefix(f"{path}:") for one in exc.problems]
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("own.pem", "own.key"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "trusted").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("device", "missing"),
    [
        (MODBUS % "ca: own.pem, certificate: own.pem, key: own.key", {}),
        (MODBUS % "ca: no.pem, certificate: own.pem, key: no.key", {"tls.ca": "no.pem", "tls.key": "no.key"}),
        (MODBUS % "ca: own.pem, certificate: x/no.pem, key: own.key", {"tls.certificate": "x/no.pem"}),
        (OPC_UA % "certificate: own.pem, private_key: own.key, trusted: trusted", {}),
        (OPC_UA % "certificate: own.pem, private_key: no.key", {"private_key": "no.key"}),
        (OPC_UA % "trusted: no.pem", {"trusted": "no.pem"}),
        (OPC_UA % "trusted: [own.pem, no.pem]", {"trusted[1]": "no.pem"}),
        (
            OPC_UA % "user_certificate: no.pem, user_private_key: own.key, enabled: false",
            {"user_certificate": "no.pem"},
        ),
    ],
)
def test_a_file_that_is_not_there_is_told_at_its_place(folder: Path, device: str, missing: dict[str, str]) -> None:
    columns = {key: f"  - {device}".index(written) + 1 for key, written in missing.items()}
    assert problems(folder, device) == [
        f"5:{columns[key]}: devices[0].{key}: {folder / written} does not exist"
        for key, written in missing.items()
    ]


@pytest.mark.parametrize(
    ("device", "key"),
    [
        (MODBUS % "ca: trusted, certificate: own.pem, key: own.key", "tls.ca"),
        (OPC_UA % "certificate: trusted, private_key: own.key", "certificate"),
        (OPC_UA % "certificate: own.pem, private_key: trusted", "private_key"),
        (OPC_UA % "user_certificate: trusted, user_private_key: own.key", "user_certificate"),
    ],
)
def test_a_folder_is_no_certificate_and_no_key(folder: Path, device: str, key: str) -> None:
    (found,) = problems(folder, device)
    assert found.endswith(f" devices[0].{key}: {folder / 'trusted'} is not a file")


def test_an_agent_starts_without_the_files_of_a_device_but_not_with_a_wrong_key(folder: Path) -> None:
    path = folder / "agent.yaml"
    path.write_text(f"{HEAD}devices:\n  - {OPC_UA % 'certificate: no.pem, private_key: trusted'}\n")
    (device,) = load(path, Registry(), needs_device_files=False).devices
    assert device.id == "a"
    path.write_text(f"{HEAD}devices:\n  - {OPC_UA % 'certificat: no.pem'}\n")
    with pytest.raises(ConfigError):
        load(path, Registry(), needs_device_files=False)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Have no right to what is for its owner alone, also where root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "device",
    [MODBUS % "ca: own.pem, certificate: own.pem, key: own.key", OPC_UA % "trusted: own.pem"],
    ids=["modbus", "opcua"],
)
def test_a_file_that_others_may_not_read_is_told(device: str) -> None:
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        for file in ("own.pem", "own.key"):
            (folder / file).touch(0)
        with somebody_else():
            found = problems(folder, device)
    assert found
    for one in found:
        assert re.fullmatch(
            rf"5:\d+: devices\[0\]\..*: {name}/own.(pem|key) cannot be read: Permission denied", one
        )


def test_a_name_that_the_disk_does_not_take_is_told(folder: Path) -> None:
    (found,) = problems(folder, OPC_UA % f"trusted: {'n' * 300}")
    assert found.endswith(f"{folder / ('n' * 300)} cannot be read: File name too long")
