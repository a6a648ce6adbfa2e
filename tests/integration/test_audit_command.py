"""What the agent and the commands beside it record, and how it is looked at."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge_agent.audit.chain import Actor
from edge_agent.audit.log import AuditLog
from edge_agent.clock import SystemClock
from tests.e2e.plant import until
from tests.servers.agent import EDGE_AGENT, AgentProcess
from tests.servers.mosquitto import mosquitto
from tests.servers.opcua.certificates import make_certificate
from tests.servers.ports import free_port
from tests.servers.subscriber import Subscriber, subscriber

YAML = """\
gateway: {{id: gw-01}}
identifiers: {{prefix: "88.000.7", allow_placeholder: true}}
publishers: [{{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1:{broker}"], health_interval: 1s}}]
devices:
  - {{id: press, driver: modbus, host: 127.0.0.1, port: {nobody}, points: [{{name: a, holding: 0, type: uint16}}]}}
"""


def edge_agent(*arguments: object, sudo_user: str = "") -> subprocess.CompletedProcess[str]:
    environ = os.environ | ({"SUDO_USER": sudo_user} if sudo_user else {})
    words = [str(argument) for argument in arguments]
    return subprocess.run(
        [EDGE_AGENT, *words], capture_output=True, text=True, timeout=30, check=False, env=environ
    )


def shown(place: Path) -> list[dict[str, Any]]:
    result = edge_agent("audit", "show", place, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    entries: list[dict[str, Any]] = json.loads(result.stdout)
    return entries


def acts(place: Path) -> list[tuple[str, str]]:
    return [(entry["act"], entry["outcome"]) for entry in shown(place)]


def _heads(received: Subscriber) -> list[object]:
    return [one.json()["health"]["audit"] for one in received.on("/health")]


@pytest.mark.slow
def test_start_codes_what_is_asked_for_and_stop_are_recorded_and_the_head_is_told(folder: Path) -> None:
    with mosquitto() as broker, subscriber(broker.port) as received:
        agent = AgentProcess(folder, YAML.format(broker=broker.port, nobody=free_port()))
        agent.start()
        try:
            assert agent.process
            until(lambda: ("codes.frozen", "done") in acts(agent.state), "the codes are final")
            asked = edge_agent("devices", "press", "--forget", "--config", agent.config, sudo_user="李 li")
            assert asked.returncode == 0, asked.stderr
            wrong = edge_agent("devices", "lathe", "--forget", "--config", agent.config)
            assert wrong.returncode == 1
            head = agent.status()["audit"]
            until(lambda: head in _heads(received), "the head is told outside")
            assert agent.metrics()["edge_agent_audit_entries"] == int(str(head).partition(":")[0])
            pid = agent.process.pid
        finally:
            assert agent.stop() == 0
    entries = shown(agent.config)
    expected = [
        ("agent.start", "done"),
        ("codes.frozen", "done"),
        ("agent.forget", "begun"),
        ("agent.forget", "done"),
        ("agent.forget", "begun"),
        ("agent.forget", "failed"),
        ("agent.stop", "done"),
    ]
    assert [(entry["act"], entry["outcome"]) for entry in entries] == expected
    start, _, forget, _, _, failed, _ = entries
    assert start["actor"] == {"uid": os.getuid(), "pid": pid, "sudo_user": ""}
    assert forget["actor"]["uid"] == os.getuid()
    assert forget["actor"]["pid"] not in {pid, -1}  # the command's own
    assert forget["actor"]["sudo_user"] == ("李 li" if os.getuid() == 0 else "")
    assert forget["about"] == {"device": "press"}
    assert "the agent has no device 'lathe'" in failed["about"]["why"]
    good = edge_agent("audit", "verify", agent.config, "--head", head)
    assert (good.returncode, good.stdout.splitlines()[0]) == (0, "7 entries, nothing changed, removed or moved")


@pytest.mark.slow
def test_another_configuration_at_the_next_start_is_recorded(folder: Path) -> None:
    agent = AgentProcess(folder, "gateway: {id: gw}\npublishers: []\ndevices: []\n")
    for yaml in (agent.yaml, agent.yaml, agent.yaml + "# changed\n"):
        agent.write(yaml)
        agent.start()
        assert agent.stop() == 0
    entries = shown(agent.state)
    changed = [entry for entry in entries if entry["act"] == "config.changed"]
    hashes = [entry["about"]["hash"] for entry in entries if entry["act"] == "agent.start"]
    assert [entry["about"] for entry in changed] == [
        {"config": str(agent.config), "from": hashes[1], "to": hashes[2]}
    ]


@pytest.mark.slow
def test_a_reload_that_is_refused_failed_and_one_that_is_taken_up_tells_what_it_changed(folder: Path) -> None:
    agent = AgentProcess(folder, "gateway: {id: gw}\npublishers: []\ndevices: []\n")
    agent.start()
    try:
        before = agent.status()["config"]
        agent.write(agent.yaml.replace("devices: []", "devices: [1]"))
        refused = edge_agent("reload", "--socket", folder / "control.sock")  # which the agent itself looks at
        assert refused.returncode == 78
        agent.write(agent.yaml.replace("devices: [1]", "devices: []") + "# changed\n")
        assert edge_agent("reload", "--socket", folder / "control.sock").returncode == 0
        after = agent.status()["config"]
    finally:
        assert agent.stop() == 0
    entries = shown(agent.state)[1:-1]
    assert [(entry["act"], entry["outcome"]) for entry in entries] == [
        ("agent.reload", "begun"),
        ("agent.reload", "failed"),
        ("agent.reload", "begun"),
        ("config.changed", "done"),
        ("agent.reload", "done"),
    ]
    assert entries[3]["about"]["from"] == before["hash"]  # type: ignore[index]
    assert entries[3]["about"]["to"] == after["hash"]  # type: ignore[index]


def test_commands_without_the_agent_are_recorded(folder: Path) -> None:
    config, state = folder / "a.yaml", folder / "state"
    state.mkdir()
    config.write_text(YAML.format(broker=1883, nobody=1) + f"outbox: {{directory: {state}}}\n")
    pem, _ = make_certificate("urn:example:server").write(folder, "server")
    assert edge_agent("opcua", "trust", "add", config, pem).returncode == 0
    assert edge_agent("opcua", "trust", "remove", config, "00000000").returncode == 1
    exported = edge_agent("ids", "export", config, "--json")
    (folder / "codes.json").write_text(exported.stdout)
    assert edge_agent("ids", "import", config, folder / "codes.json", "--dry-run").returncode == 0
    assert edge_agent("ids", "import", config, folder / "codes.json").returncode == 0
    assert edge_agent("outbox", "dead-letter", "drop", config, "--all").returncode == 1  # there is no outbox
    assert acts(config) == [
        ("opcua.trust.add", "begun"),
        ("opcua.trust.add", "done"),
        ("opcua.trust.remove", "begun"),
        ("opcua.trust.remove", "failed"),
        ("codes.export", "begun"),
        ("codes.export", "done"),
        ("codes.import", "begun"),
        ("codes.import", "done"),
    ]
    table = edge_agent("audit", "show", config, "--limit", "1")
    assert table.stdout.splitlines()[-1].split("\t")[3:5] == ["codes.import", "done"]


def test_what_was_recorded_does_not_command_a_terminal(folder: Path) -> None:
    AuditLog(folder, SystemClock()).record(
        "agent.forget", "begun", Actor(0, 1, "\x1b[2J"), {"device": "a\x1b[31m\nb"}
    )
    result = edge_agent("audit", "show", folder)
    assert result.returncode == 0
    assert "device a\\x1b[31m\\nb" in result.stdout
    assert "\x1b" not in result.stdout


def test_verify_says_where_the_log_was_changed_and_ends_with_1(folder: Path) -> None:
    state = folder / "state"
    state.mkdir()
    for command in ("verify", "show"):
        none = edge_agent("audit", command, state)
        assert (none.returncode, none.stdout) == (1, "")
        assert f"there is no audit log in {state}" in none.stderr
    pem, _ = make_certificate("urn:example:server").write(folder, "server")
    edge_agent("opcua", "trust", "add", state, pem)
    good = json.loads(edge_agent("audit", "verify", state, "--json").stdout)
    assert (good["ok"], good["entries"]) == (True, 2)
    path = state / "audit" / "audit.jsonl"
    whole = path.read_text()
    path.write_text(whole.replace("server.pem", "dealer.pem"))
    bad = edge_agent("audit", "verify", state)
    assert bad.returncode == 1
    assert bad.stderr.splitlines()[0] == "audit.jsonl:1: changed: its hash is another one"
    assert json.loads(edge_agent("audit", "verify", state, "--json").stdout)["ok"] is False
    path.write_text(whole.splitlines(keepends=True)[0])
    assert edge_agent("audit", "verify", state).returncode == 0
    cut = edge_agent("audit", "verify", state, "--head", good["head"])
    assert (cut.returncode, "entry 2, which was told outside, is missing" in cut.stderr) == (1, True)
    assert edge_agent("audit", "verify", state, "--head", "nonsense").returncode == 2


@pytest.mark.slow
def test_an_audit_log_that_cannot_be_written_stops_changes_and_not_the_agent(folder: Path) -> None:
    agent = AgentProcess(folder, YAML.format(broker=free_port(), nobody=free_port()))
    agent.state.mkdir()
    (agent.state / "audit").write_text("in the way")
    agent.start()
    try:
        assert agent.metrics()["edge_agent_audit_failures_total"] >= 1
        asked = edge_agent("devices", "press", "--forget", "--config", agent.config)
        assert (asked.returncode, "agent.forget cannot be recorded in" in asked.stderr) == (1, True)
        assert agent.status()["audit"] is None
    finally:
        assert agent.stop() == 0
    assert "the audit log cannot be written" in agent.log.read_text()
