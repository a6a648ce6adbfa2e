"""Who else can read a file that holds a secret."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edge_agent.cli.exits import ExitCode, exit_code
from edge_agent.config import load
from edge_agent.config.exposure import exposure
from edge_agent.errors import ConfigError
from edge_agent.registry import Registry
from tests.cases.config.kit import FakeRegistry

CANARY = "canary-4712"
HEAD = "gateway: {id: gw}\npublishers: []\n"
POINTS = "points: [{name: a, address: 1}]"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with TemporaryDirectory(prefix="ea", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def file(folder: Path, mode: int, owner: int, name: str = "secret") -> Path:
    path = folder / name
    path.write_text(CANARY)
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, owner, 65534)
    elif owner == 0:
        pytest.skip("only root makes files of root")
    return path


@pytest.mark.parametrize(
    ("mode", "owner", "who"),
    [
        (0o400, 0, None),
        (0o600, 0, None),
        (0o640, 0, None),  # the administrator gives it to the service's group
        (0o440, 0, None),
        (0o660, 0, "its group"),  # who writes a secret knows it
        (0o644, 0, "everybody"),
        (0o602, 0, "everybody"),
        (0o400, 65534, None),
        (0o600, 65534, None),
        (0o640, 65534, "its group"),
        (0o604, 65534, "everybody"),
        (0o777, 65534, "everybody"),
    ],
)
def test_a_file_of_root_may_be_read_by_its_group_and_any_other_by_its_owner_alone(
    folder: Path, mode: int, owner: int, who: str | None
) -> None:
    path = file(folder, mode, owner)
    told = exposure(path)
    assert told is None if who is None else (told or "").startswith(f"{path} holds a secret and is open to {who}")
    if told:
        command = told.rpartition(": ")[2].split()
        assert command[0] == "chmod"
        path.chmod(int(command[1], 8))
        assert exposure(path) is None  # what is said to be done helps


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "is_exposed"),
    [
        (0o700, 0o666, False),
        (0o500, 0o444, False),  # as systemd keeps credentials
        (0o750, 0o604, False),
        (0o750, 0o640, True),  # the group gets in
        (0o755, 0o604, True),
        (0o711, 0o604, True),  # a folder that cannot be listed can be entered
        (0o744, 0o604, False),
    ],
)
def test_a_folder_that_lets_nobody_in_protects_what_is_in_it(
    folder: Path, folder_mode: int, file_mode: int, *, is_exposed: bool
) -> None:
    inner = folder / "inner"
    inner.mkdir()
    path = file(inner, file_mode, owner=65534)
    inner.chmod(folder_mode)
    assert bool(exposure(path)) is is_exposed


def test_a_link_is_as_exposed_as_what_it_leads_to(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    secret = file(folder, 0o644, owner=65534)
    (inner / "link").symlink_to(secret)
    inner.chmod(0o700)
    assert str(secret) in (exposure(inner / "link") or "")


def test_what_is_not_there_is_for_others_to_complain_about(folder: Path) -> None:
    assert exposure(folder / "none") is None


def refusal(path: Path, yaml: str) -> str:
    path.write_text(HEAD + yaml)
    with pytest.raises(ConfigError) as refused:
        load(path, FakeRegistry())
    assert exit_code(refused.value) is ExitCode.BAD_CONFIG
    assert CANARY not in str(refused.value)
    return str(refused.value)


def test_a_secret_of_a_file_that_others_can_read_is_refused(folder: Path) -> None:
    secret = file(folder, 0o644, owner=65534)
    text = refusal(folder / "a.yaml", f"devices:\n  - {{id: a, driver: fake, tokens: [!file secret], {POINTS}}}\n")
    told = f"devices[0].tokens[0]: {secret} holds a secret and is open to everybody on this machine"
    assert text == f"{folder}/a.yaml:4:36: {told}: chmod 600 {secret}"
    secret.chmod(0o600)
    load(folder / "a.yaml", FakeRegistry())


def test_a_written_secret_that_others_can_read_is_to_be_changed(folder: Path) -> None:
    path = folder / "a.yaml"
    path.touch()
    path.chmod(0o644)
    text = refusal(path, f"devices:\n  - {{id: a, driver: fake, tokens: [{CANARY}], {POINTS}}}\n")
    mode = "640" if os.geteuid() == 0 else "600"
    assert "a secret is never written in the file" in text
    assert f"chmod {mode} {path}, and change the secret: it is known" in text


@pytest.mark.parametrize("mode", [0o644, 0o666])
def test_a_private_key_of_a_publisher_that_others_can_read_is_refused(folder: Path, mode: int) -> None:
    key = file(folder, mode, owner=65534, name="own.key")
    certificate = file(folder, 0o644, owner=65534, name="own.pem")
    publisher = "{id: cloud, type: mqtt, servers: ['mqtts://broker'], tls: {certificate: own.pem, key: own.key}}"
    path = folder / "a.yaml"
    path.write_text(f"gateway: {{id: gw}}\ndevices: []\npublishers:\n  - {publisher}\n")
    with pytest.raises(ConfigError) as refused:
        load(path, FakeRegistry())
    assert "publishers[0].tls.key: " in str(refused.value)
    assert f"chmod 600 {key}" in str(refused.value)
    assert str(certificate) not in str(refused.value)


@pytest.mark.parametrize(
    ("device", "place"),
    [
        (
            (
                "{id: a, driver: opcua, url: 'opc.tcp://h', security_policy: Basic256Sha256, certificate: own.pem,"
                " private_key: own.key, points: [{name: a, node: 'i=1'}]}"
            ),
            "devices[0].private_key",
        ),
        (
            (
                "{id: a, driver: modbus, host: h, tls: {ca: own.pem, certificate: own.pem, key: own.key}, "
                "points: [{name: a, holding: 1, type: uint16}]}"
            ),
            "devices[0].tls.key",
        ),
    ],
)
def test_a_private_key_of_a_driver_that_others_can_read_is_refused(folder: Path, device: str, place: str) -> None:
    key = file(folder, 0o644, owner=65534, name="own.key")
    file(folder, 0o644, owner=65534, name="own.pem")
    path = folder / "a.yaml"
    path.write_text(f"{HEAD}devices:\n  - {device}\n")
    with pytest.raises(ConfigError) as refused:
        load(path, Registry())
    assert f"{place}: {key} holds a secret" in str(refused.value)
    key.chmod(0o600)
    load(path, Registry())
