"""A box burns down, and another one takes its place."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.plant import until
from tests.servers.agent import EDGE_AGENT, AgentProcess
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import Mosquitto, mosquitto
from tests.servers.opcua.certificates import make_certificate
from tests.servers.ports import free_port
from tests.servers.subscriber import Subscriber, subscriber

YAML = """\
gateway: {{id: gw-01}}
identifiers: {{prefix: "88.000.7", allow_placeholder: true}}
publishers:
  - {{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1:{broker}"], username: edge, password: !file secrets/mqtt}}
devices:
  - {{id: press, driver: modbus, host: 127.0.0.1, port: {plc}, interval: 50ms, points: [{{name: a, holding: 0, type: uint16}}]}}
  - id: cnc
    driver: opcua
    url: opc.tcp://127.0.0.1:1
    security_policy: Basic256Sha256
    user: op
    password: !credential cnc
    points: [{{name: a, node: "i=1"}}]
"""  # noqa: E501 - as it is written


def edge_agent(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [str(argument) for argument in arguments]
    return subprocess.run([EDGE_AGENT, *words], capture_output=True, text=True, timeout=60, check=False)


def site(folder: Path, monkeypatch: pytest.MonkeyPatch, broker: int, plc: int) -> AgentProcess:
    box = folder / "box"
    (box / "secrets").mkdir(parents=True)
    (box / "secrets" / "mqtt").write_text("canary-mqtt")
    (box / "secrets" / "mqtt").chmod(0o600)
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / "cnc").write_text("canary-cnc")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    return AgentProcess(box, YAML.format(broker=broker, plc=plc), state=box / "state")


def identities(received: Subscriber) -> set[tuple[str, int]]:
    bodies = [one.json() for one in received.on("/press/data")]
    return {(body["epoch"], row["row"]) for body in bodies for row in body["rows"]}


def own_fingerprint(config: Path) -> str:
    told: dict[str, Any] = json.loads(edge_agent("opcua", "certificate", config, "--json").stdout)
    return str(told["fingerprint"])


def run_until_published(agent: AgentProcess, broker: Mosquitto) -> set[tuple[str, int]]:
    with subscriber(broker.port, arguments=["-u", "edge", "-P", "canary-mqtt"]) as received:
        agent.start()
        try:
            until(lambda: len(identities(received)) >= 3, "readings arrive")
            if not (agent.folder.parent / "backup").exists():
                made = edge_agent(
                    "backup", agent.config, agent.folder.parent / "backup"
                )  # beside the running agent
                assert made.returncode == 0, made.stderr
                assert "not in the backup: !credential cnc" in made.stderr
                refused = edge_agent("restore", agent.folder.parent / "backup", "--force")
                assert (refused.returncode, "is in use by process" in refused.stderr) == (1, True)
        finally:
            assert agent.stop() == 0
        return identities(received)


@pytest.mark.slow
def test_a_replaced_box_has_codes_keys_and_trust_of_the_old_one_and_an_epoch_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "backup"
    with mosquitto(passwords={"edge": "canary-mqtt"}) as broker, libmodbus_server() as plc:
        agent = site(folder, monkeypatch, broker.port, plc.port)
        agent.state.mkdir(mode=0o750)
        server, _ = make_certificate("urn:example:cnc").write(folder / "elsewhere", "server")
        assert edge_agent("opcua", "trust", "add", agent.config, server).returncode == 0
        before = run_until_published(agent, broker)
        fingerprint = own_fingerprint(agent.config)
        codes = (agent.state / "identifiers.lock").read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600
        shutil.rmtree(agent.folder)  # fire

        dry = edge_agent("restore", file, "--dry-run")
        assert (dry.returncode, agent.folder.exists()) == (0, False), dry.stderr
        done = edge_agent("restore", file)
        assert done.returncode == 0, done.stderr
        assert (agent.folder / "secrets" / "mqtt").stat().st_mode & 0o777 == 0o600
        assert (agent.state / "identifiers.lock").read_bytes() == codes
        assert own_fingerprint(agent.config) == fingerprint
        trusted = json.loads(edge_agent("opcua", "trust", "list", agent.config, "--json").stdout)
        assert any(one["standing"] == "trusted" for one in trusted)
        after = run_until_published(agent, broker)
    assert {epoch for epoch, _ in before}.isdisjoint({epoch for epoch, _ in after})
    verified = edge_agent("audit", "verify", agent.state)
    assert verified.returncode == 0, verified.stderr
    acts = json.loads(edge_agent("audit", "show", agent.state, "--json").stdout)
    assert ("restore", "done") in [(one["act"], one["outcome"]) for one in acts]
    assert acts[0]["act"] == "opcua.trust.add"  # of the box that burned


def test_other_files_are_replaced_with_force_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = site(folder, monkeypatch, free_port(), free_port())
    agent.state.mkdir()
    saved = agent.config.read_text()
    assert edge_agent("backup", agent.config, folder / "backup").returncode == 0
    assert edge_agent("restore", folder / "backup").returncode == 0  # nothing to do
    agent.config.write_text("# another\n")
    refused = edge_agent("restore", folder / "backup")
    assert (refused.returncode, "1 file would be replaced; --force does it" in refused.stderr) == (1, True)
    assert agent.config.read_text() == "# another\n"
    told = json.loads(edge_agent("restore", folder / "backup", "--force", "--json").stdout)
    assert (told["done"], told["files"][str(agent.config)]) == (True, "replaced")
    assert agent.config.read_text() == saved


def test_a_backup_replaces_no_file_and_is_encrypted_if_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = site(folder, monkeypatch, free_port(), free_port())
    agent.state.mkdir()
    (folder / "passphrase").write_text("correct horse\n")
    file = folder / "backup"
    arguments = ("backup", agent.config, file, "--passphrase-file", folder / "passphrase")
    assert edge_agent(*arguments).returncode == 0
    assert file.read_bytes().startswith(b"edge.backup/1 sealed\n")
    again = edge_agent(*arguments)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    options = ("--passphrase-file", folder / "passphrase", "--into", folder / "root")
    assert edge_agent("restore", file, *options).returncode == 0
    put_back = folder / "root" / str(agent.config)[1:]
    assert put_back.read_text() == agent.config.read_text()
    (folder / "passphrase").write_text("wrong")
    wrong = edge_agent("restore", file, *options)
    assert (wrong.returncode, "another passphrase" in wrong.stderr) == (1, True)
    output = "".join(result.stdout + result.stderr for result in (again, wrong))
    assert "canary" not in output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_puts_back_is_the_agents(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = site(folder, monkeypatch, free_port(), free_port())
    agent.state.mkdir()
    edge_agent("ids", "export", agent.config, "--json")
    assert edge_agent("backup", agent.config, folder / "backup").returncode == 0
    state = folder / "root" / str(agent.state)[1:]
    state.mkdir(parents=True)
    os.chown(state, 65534, 65534)
    assert edge_agent("restore", folder / "backup", "--into", folder / "root").returncode == 0
    assert (state / "identifiers.lock").exists()
    assert {path.stat().st_uid for path in state.rglob("*")} == {65534}
