"""The doctor on a real box: what it finds, what it disturbs, and what it hands out."""

import json
import socket
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.e2e.plant import until
from tests.servers.agent import EDGE_AGENT, AgentProcess
from tests.servers.canaries import Canary
from tests.servers.mosquitto import BrokerTls, mosquitto
from tests.servers.ports import free_port

PASSWORD, NOTED, KEY = Canary("doctor's password"), Canary("noted"), Canary("in an address")
YAML = """\
gateway: {{id: gw-01}}
# the old one was password: {noted}
# see https://me:{key}@wiki.example.com
publishers:
  - id: cloud
    type: mqtt
    servers: ["{scheme}://localhost:{broker}"]
    username: edge
    password: !file password
{tls}
devices:
  - {{id: press, driver: modbus, host: 127.0.0.1, port: {nobody}, points: [{{name: a, holding: 0, type: uint16}}]}}
"""


def box(folder: Path, broker: int, *, password: str = PASSWORD.secret, tls: bool = False) -> AgentProcess:
    (folder / "password").write_text(password)
    (folder / "password").chmod(0o600)
    keys = {"scheme": "mqtts" if tls else "mqtt", "tls": "    tls: {ca: ca.pem}" if tls else ""}
    noted = {"noted": NOTED.secret, "key": KEY.secret.replace("/", "").replace('"', "")}
    return AgentProcess(folder, YAML.format(broker=broker, nobody=free_port(), **keys, **noted))


def doctor(agent: AgentProcess, *options: object) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Return exit code, findings by subject, and all that was printed."""
    words = [str(EDGE_AGENT), "doctor", str(agent.config), "--json", *map(str, options)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {one["subject"]: one for one in findings}, done.stdout + done.stderr


@pytest.mark.parametrize("tls", [False, True])
def test_a_box_that_is_ready_passes(folder: Path, *, tls: bool) -> None:
    ca = trustme.CA()
    server = ca.issue_cert("localhost")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    server.private_key_pem.write_to_path(folder / "server.key")
    server.cert_chain_pems[0].write_to_path(folder / "server.pem")
    front = BrokerTls(folder / "ca.pem", folder / "server.pem", folder / "server.key") if tls else None
    with mosquitto(tls=front, passwords={"edge": PASSWORD.secret}) as broker:
        agent = box(folder, broker.port, tls=tls)
        agent.state.mkdir()
        code, findings, text = doctor(agent)
    assert code == 0, text
    assert findings["broker"]["standing"] == "ok"
    assert ("TLS" in findings["broker"]["found"]) is tls
    assert ("certificate" in findings) is tls
    assert findings["pages"]["standing"] == findings["configuration"]["standing"] == "ok"
    assert {"versions", "clock", "battery clock", "state directory", "space", "agent"} <= set(findings)


def test_a_wrong_password_a_broker_that_is_away_and_a_taken_port_fail_with_a_way_out(folder: Path) -> None:
    with mosquitto(passwords={"edge": PASSWORD.secret}) as broker:
        agent = box(folder, broker.port, password="wrong")  # noqa: S106 - the point of the test
        host, _, port = agent.ops.partition(":")
        with socket.create_server((host, int(port))):
            code, findings, _ = doctor(agent)
    assert code == 1
    assert "these credentials may not connect" in findings["broker"]["remedy"]
    assert findings["pages"]["found"].endswith("Address already in use")
    code, findings, _ = doctor(agent)
    assert (code, "refused the connection" in findings["broker"]["remedy"]) == (1, True)


def test_a_bad_configuration_is_one_finding_of_several(folder: Path) -> None:
    agent = box(folder, free_port())
    agent.config.write_text(agent.config.read_text() + f"password: {PASSWORD.secret!r}\n")
    code, findings, text = doctor(agent, "--bundle", folder / "bundle.tar.gz")
    assert (code, findings["configuration"]["standing"]) == (1, "fail")
    assert findings["versions"]["standing"] == "ok"
    with tarfile.open(folder / "bundle.tar.gz") as tar:
        names = tar.getnames()
    assert "edge-agent-support/configuration-left-out.txt" in names
    assert "edge-agent-support/configuration.yaml" not in names
    assert not PASSWORD.is_in(text.encode())


@pytest.mark.slow
def test_a_running_agent_is_not_disturbed_and_the_archive_has_no_secret(folder: Path) -> None:
    file = folder / "bundle.tar.gz"
    with mosquitto(passwords={"edge": PASSWORD.secret}) as broker:
        agent = box(folder, broker.port)
        agent.start()
        try:
            until(lambda: agent.metrics()["edge_agent_publisher_sessions_total"] == 1, "the agent is connected")
            code, findings, text = doctor(agent, "--bundle", file)
            assert code == 0, text
            assert "the running agent is connected" in findings["broker"]["found"]
            assert findings["agent"]["standing"] == findings["audit log"]["standing"] == "ok"
            assert findings["device press"]["standing"] == "warn"
            assert agent.metrics()["edge_agent_publisher_sessions_total"] == 1
        finally:
            assert agent.stop() == 0
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as tar:
        contents = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    words = {name.partition("/")[2] for name in contents}
    assert {
        "doctor.json",
        "versions.json",
        "configuration.yaml",
        "status.json",
        "metrics.txt",
        "audit.json",
    } <= words
    assert b"edge_agent_info" in contents["edge-agent-support/metrics.txt"]
    assert b"password: !file password" in contents["edge-agent-support/configuration.yaml"]
    assert b"id: press" in contents["edge-agent-support/configuration.yaml"]
    found = [
        (name, one.name) for name, hay in contents.items() for one in (PASSWORD, NOTED, KEY) if one.is_in(hay)
    ]
    assert not found
    again = subprocess.run(
        [EDGE_AGENT, "doctor", agent.config, "--bundle", file], capture_output=True, timeout=60, check=False
    )
    assert (again.returncode, b"is there already" in again.stderr) == (1, True)


@pytest.mark.slow
@pytest.mark.skipif(subprocess.call(["unshare", "--mount", "true"]) != 0, reason="another machine-id takes root")
def test_a_cloned_image_is_noticed_and_gets_an_epoch_of_its_own(folder: Path) -> None:
    agent = AgentProcess(folder, "gateway: {id: gw}\npublishers: []\ndevices: []\n")
    agent.start()
    before = agent.status()["outbox"]["epoch"]  # type: ignore[index]
    assert agent.stop() == 0
    assert "outbox" not in doctor(agent)[1]
    other = folder / "machine-id"
    other.write_text("0123456789abcdef0123456789abcdef\n")
    clone = ["unshare", "--mount", "sh", "-c", f'mount --bind {other} /etc/machine-id && exec "$@"', "sh"]
    words = [*clone, str(EDGE_AGENT), "doctor", str(agent.config), "--json"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    (found,) = [one for one in json.loads(told)["findings"] if one["subject"] == "outbox"]
    assert (found["standing"], "from another machine" in found["found"]) == ("warn", True)
    agent.start(within_s=30, around=clone)
    after, metrics = agent.status()["outbox"]["epoch"], agent.metrics()  # type: ignore[index]
    assert agent.stop() == 0
    assert before != after
    assert metrics["edge_agent_outbox_new_epochs_total"] == 1
    assert "comes from another machine" in agent.log.read_text()
