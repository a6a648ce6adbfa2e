"""A secret is named, never written; its value is in no message."""

from dataclasses import fields
from pathlib import Path

import pytest

from edge_agent.config import load, load_local
from edge_agent.errors import ConfigError
from tests.cases.config.kit import HEAD, FakeRegistry, load_text, problems_of

CANARY = "canary-4711"
LITERAL = (
    "a secret is never written in the file; name its place: !credential NAME (systemd), !file PATH or !env NAME"
)


def publisher(password: str) -> str:
    return (
        "gateway: {id: gw}\n"
        "devices: []\n"
        "publishers:\n"
        "  - id: cloud\n"
        "    type: mqtt\n"
        '    servers: ["mqtts://broker"]\n'
        "    username: edge\n"
        f"    password: {password}\n"
    )


def test_env_is_the_environment_variable() -> None:
    options = load_text(publisher("!env MQTT"), environ={"MQTT": CANARY})
    assert options.publishers[0].password == CANARY
    assert CANARY not in repr(options)


def test_file_is_relative_to_the_yaml_file_and_loses_one_line_break(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mqtt").write_text(f" {CANARY} \r\n")
    options = load_text(publisher("!file secrets/mqtt"), path=tmp_path / "a.yaml")
    assert options.publishers[0].password == f" {CANARY} "


def test_credential_is_a_file_of_the_unit(tmp_path: Path) -> None:
    (tmp_path / "mqtt").write_text(f"{CANARY}\n")
    options = load_text(publisher("!credential mqtt"), environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert options.publishers[0].password == CANARY


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("!env MQTT", "the environment variable MQTT is not set"),
        ("!env EMPTY", "!env EMPTY is empty"),
        ("!env", "!env needs a name, such as !env mqtt-password"),
        ("!file none", "{tmp}/none does not exist"),
        ("!file .", "{tmp} is not a file"),
        ("!file gbk", "{tmp}/gbk is not UTF-8 text"),
        ("!file huge", "{tmp}/huge is larger than 64 KiB"),
        ('!file "a\\0b"', "!file needs a name, such as !file mqtt-password"),
        ("!credential none", "the unit has no credential none; add LoadCredential=none:/path/to/file"),
        ("!credential ../x", "'../x' cannot be the name of a credential; !file takes a path"),
        ("!secret mqtt", "unknown tag !secret; known are !env, !file, !credential; plain text needs quotes"),
    ],
)
def test_a_secret_that_is_not_there_is_a_problem_at_its_place(written: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "gbk").write_bytes("密码".encode("gb18030"))
    (tmp_path / "huge").write_bytes(b"x" * 65537)
    environ = {"EMPTY": "", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = problems_of(publisher(written), environ=environ, path=tmp_path / "a.yaml")
    assert found == [f"8:15: publishers[0].password: {message.format(tmp=tmp_path)}"]


def test_a_credential_outside_of_systemd_says_what_is_missing() -> None:
    (found,) = problems_of(publisher("!credential mqtt"))
    assert "$CREDENTIALS_DIRECTORY is not set" in found


@pytest.mark.parametrize("written", [CANARY, f'"{CANARY}"', "4711", "true"])
def test_a_written_secret_is_refused_and_not_repeated(written: str) -> None:
    assert problems_of(publisher(written)) == [f"8:15: publishers[0].password: {LITERAL}"]


def test_written_secrets_are_found_in_lists_of_a_driver_even_beside_other_mistakes() -> None:
    found = problems_of(
        HEAD
        + f"""\
devices:
  - id: a
    driver: fake
    tokens: [!env TOKEN, {CANARY}, 5]
    nonsense: 1
    points: [{{name: a, address: 1}}]
""",
        environ={"TOKEN": CANARY},
    )
    assert found[:2] == [f"7:26: devices[0].tokens[1]: {LITERAL}", f"7:39: devices[0].tokens[2]: {LITERAL}"]
    assert found[2].startswith("8:5: devices[0].nonsense: unknown key")
    assert len(found) == 3
    assert not [line for line in found if CANARY in line]


@pytest.mark.parametrize(
    "place", ["name: !env TOKEN", "labels: {a: !env TOKEN}", "enabled: !env TOKEN", "points: !env TOKEN"]
)
def test_a_tag_where_no_secret_belongs_is_refused(place: str) -> None:
    text = f"{HEAD}devices:\n  - id: a\n    driver: fake\n    {place}\n"
    text += "" if place.startswith("points") else "    points: [{name: a, address: 1}]\n"
    (found,) = problems_of(text, environ={"TOKEN": CANARY})
    assert found.endswith("a secret cannot stand here; write the value itself")
    assert found.startswith("7:")
    assert CANARY not in found


@pytest.mark.parametrize("written", ["!env NOT_SET", "!file none", "!credential mqtt"])
def test_a_command_beside_the_agent_needs_no_secret(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    path = tmp_path / "a.yaml"
    path.write_text(publisher(written) + "outbox: {directory: state}\n")
    with pytest.raises(ConfigError):
        load(path, FakeRegistry())
    options = load_local(path, FakeRegistry())
    assert options.outbox.directory == tmp_path / "state"
    assert {field.name for field in fields(options)} == {"outbox", "identifiers", "ops"}  # none that connects


def test_a_command_beside_the_agent_still_refuses_a_written_secret(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for written in (CANARY, "!secret mqtt", "!env"):
        path.write_text(publisher(written))
        with pytest.raises(ConfigError) as refused:
            load_local(path, FakeRegistry())
        assert str(refused.value).startswith(f"{path}:8:15: publishers[0].password: ")
