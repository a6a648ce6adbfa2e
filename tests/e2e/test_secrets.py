"""No secret leaves the agent, whatever goes wrong, and nobody reaches it where it is not configured to listen."""

import base64
import json
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from edge_agent.config.schema import OpsModel
from tests.e2e.plant import until
from tests.servers.agent import EDGE_AGENT, AgentProcess
from tests.servers.canaries import Canary
from tests.servers.listeners import Listener, listeners
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import mosquitto
from tests.servers.opcua.certificates import Pair, make_certificate
from tests.servers.opcua_server import URI, opcua_server
from tests.servers.ports import free_port
from tests.servers.subscriber import subscriber

GOOD, BAD, AWAY, CNC, LATHE, FILED, TOKEN = (
    Canary(name) for name in ("broker", "wrong", "away", "OPC UA", "lathe", "file", "token")
)
CANARIES = (GOOD, BAD, AWAY, CNC, LATHE, FILED, TOKEN)

# A driver with a bug that prints everything it can get at.
LEAKY = """
from collections.abc import Sequence
from edge_agent.driver import API, DeviceModel, DriverSpec, PointModel, Secret

class Lathe(DeviceModel):
    token: Secret
    other: list[Secret]
    points: Sequence[PointModel]

class Device:
    polled, reported = (), (0,)

    def __init__(self, config):
        self._config = config

    def plan(self, points, refused):
        return []

    async def connect(self):
        config = self._config
        raise RuntimeError(f"bug: {config} {config!r} {vars(config)} {config.model_dump_json()}")

DRIVER = DriverSpec("leaky", API, Lathe, lambda context, config: Device(config), "prints its secrets")
"""
YAML = """\
gateway: {{id: gw-01}}
identifiers: {{prefix: "88.000.7", allow_placeholder: true}}
drivers_path: [drivers]
publishers:
  - id: good
    type: mqtt
    servers: ["mqtt://127.0.0.1:{broker}"]
    username: edge
    password: !env GOOD
    health_interval: 1s
  - id: wrong
    type: mqtt
    servers: ["mqtt://127.0.0.1:{broker}"]
    client_id: other
    username: edge
    password: !env BAD
  - id: away
    type: mqtt
    servers: ["mqtts://127.0.0.1:{nobody}"]
    username: edge
    password: !credential away
    tls: {{certificate: own.pem, key: own.key}}
devices:
  - id: press
    driver: modbus
    host: 127.0.0.1
    port: {modbus}
    interval: 100ms
    points: [{{name: a, holding: 0, type: uint16}}]
  - {{id: dead, driver: modbus, host: 127.0.0.1, port: {nobody}, points: [{{name: a, holding: 0, type: uint16}}]}}
  - id: cnc
    driver: opcua
    url: opc.tcp://127.0.0.1:{opcua}
    user: op
    password: !file cnc-password
    security_policy: Basic256Sha256
    certificate: own.pem
    private_key: own.key
    trusted: [server.pem]
    points: [{{name: feed, node: "nsu=http://example.com/cnc;s=Feed"}}]
  - id: mill
    driver: opcua
    url: opc.tcp://127.0.0.1:{opcua}
    security_policy: Basic256Sha256
    certificate: own.pem
    private_key: own.key
    points: [{{name: feed, node: "nsu=http://example.com/cnc;s=Feed"}}]
  - {{id: lathe, driver: leaky, token: !env LATHE, other: [!file token], points: [{{name: a}}]}}
"""
REASONS = {
    "press": "",
    "dead": "nothing listens there",
    "cnc": "check `user:` and `password:`",
    "mill": "is not trusted",
    "lathe": "the driver is broken",
}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("written", ["raw", "hex", "base64", "url", "json", "repr"])
def test_a_canary_is_found_whatever_was_done_to_it(written: str, before: str) -> None:
    text = f"{before}{GOOD.secret}{before}"
    forms = {
        "raw": text,
        "hex": text.encode().hex(),
        "base64": base64.b64encode(text.encode()).decode(),
        "url": quote(text),
        "json": json.dumps({"a": text}),
        "repr": repr(text.encode()),
    }
    assert GOOD.is_in(forms[written].encode())
    assert not BAD.is_in(forms[written].encode())


@pytest.mark.slow
def test_no_secret_is_in_any_output_and_nobody_listens_but_where_configured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, canary in (("GOOD", GOOD), ("BAD", BAD), ("LATHE", LATHE)):
        monkeypatch.setenv(name, canary.secret)
    monkeypatch.setenv("TOKEN", TOKEN.word)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    own, server = make_certificate("urn:edge-agent:gw-01"), make_certificate(URI, key=2)
    certificate, key = server.write(folder, "server")
    line_of_key = _files(folder, own)
    nobody = free_port()
    with (
        mosquitto(passwords={"edge": GOOD.secret}) as broker,
        subscriber(broker.port, topic="#", arguments=["-u", "edge", "-P", GOOD.secret]) as received,
        libmodbus_server() as plc,
        opcua_server(
            [own.der], users={"op": "another"}, security=True, certificate=str(certificate), key=str(key)
        ) as cnc,
    ):
        ports = {"broker": broker.port, "modbus": plc.port, "opcua": cnc.port, "nobody": nobody}
        agent = AgentProcess(folder, YAML.format(**ports))
        agent.config.write_text(
            agent.config.read_text().replace("ops: {", "ops: {log_level: debug, token: !env TOKEN, ")
        )
        agent.token = TOKEN.word
        agent.start()
        try:
            assert agent.process
            _until_all_has_failed(agent)
            until(lambda: received.on("/health") and received.on("/directory"), "the gateway tells of itself")
            expected = {Listener("tcp", *agent.ops.split(":")), Listener("unix", str(folder / "control.sock"))}
            assert listeners(agent.process.pid) == expected
            outputs = dict(_outputs(agent)) | dict(_support(agent))
            outputs |= {f"message {one.topic}": one.payload for one in received.messages}
        finally:
            agent.stop()
    outputs["log"] = agent.log.read_bytes()
    outputs |= {f"file {path.name}": path.read_bytes() for path in agent.state.rglob("*") if path.is_file()}
    assert b"Traceback" in outputs["log"]
    assert b"bug: " in outputs["log"]
    assert outputs["file outbox.db"]
    found = {(place, one.name) for place, hay in outputs.items() for one in CANARIES if one.is_in(hay)}
    assert not found
    assert not [place for place, hay in outputs.items() if line_of_key in hay]


@pytest.mark.parametrize("word", ["run", "check", "status", "outbox"])
def test_a_configuration_that_is_wrong_everywhere_repeats_no_secret(
    folder: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("GOOD", GOOD.secret)
    config = folder / "a.yaml"
    config.write_text(
        "gateway: {id: !env GOOD}\n"
        f"publishers:\n  - {{id: c, type: mqtt, servers: [!env GOOD], username: e, password: '{BAD.secret}'}}\n"
        f"devices:\n  - {{id: a, driver: opcua, url: !env GOOD, user: u, password: {AWAY.secret!r}, points: []}}\n"
        f"  - {{id: b, driver: !env GOOD, tokens: ['{BAD.secret}', !env GOOD]}}\n"
    )
    arguments = ["outbox", "status"] if word == "outbox" else [word]
    result = subprocess.run([EDGE_AGENT, *arguments, config], capture_output=True, timeout=30, check=False)
    assert result.returncode == 78, result.stderr
    assert result.stderr.count(b"a secret is never written in the file") >= 2
    assert not [one.name for one in CANARIES if one.is_in(result.stdout + result.stderr)]


def test_the_pages_are_on_loopback_unless_configured() -> None:
    assert OpsModel().http.startswith("127.0.0.1:")


def _files(folder: Path, own: Pair) -> bytes:
    """Write the secrets' files; return a line of the private key."""
    _, key = own.write(folder, "own")
    for name, canary in (("cnc-password", CNC), ("away", AWAY), ("token", FILED)):
        (folder / name).write_text(canary.secret)
    driver = folder / "drivers" / "edge_agent_leaky"
    driver.mkdir(parents=True)
    (driver / "__init__.py").write_text(LEAKY)
    return key.read_bytes().splitlines()[3]


def _until_all_has_failed(agent: AgentProcess) -> None:
    def is_settled() -> bool:
        status: dict[str, Any] = agent.status()
        told = {device["id"]: device["reason"] for device in status["devices"]}
        publishers = {one["id"]: (one["connected"], one["last_error"]) for one in status["publishers"]}
        return (
            all(reason in (told[device] or "") for device, reason in REASONS.items())
            and publishers["good"][0]
            and "these credentials may not connect" in str(publishers["wrong"])
            and "refused the connection" in str(publishers["away"])
        )

    try:
        until(is_settled, "everything fails that can", within_s=30)
    except AssertionError:
        raise AssertionError(f"not everything failed as it should: {agent.status()}") from None


def _support(agent: AgentProcess) -> Iterator[tuple[str, bytes]]:
    """Yield what the doctor prints, and what it puts into an archive for strangers."""
    file = agent.folder / "support.tar.gz"
    words = [str(EDGE_AGENT), "doctor", str(agent.config), "--bundle", str(file)]
    result = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert result.returncode == 1, result.stderr  # brokers that fail
    yield "doctor", result.stdout + result.stderr
    with tarfile.open(file) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            yield f"doctor {member.name}", content.read()


def _outputs(agent: AgentProcess) -> Iterator[tuple[str, bytes]]:
    """Yield every page and what every command prints that looks at this agent."""
    for token, page in product(("", "wrong", agent.token), ("", "status", "metrics", "livez", "login", "nothing")):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://{agent.ops}/{page}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - http
                yield f"page /{page} {token[:5]}", str(reply.headers).encode() + reply.read()
        except urllib.error.HTTPError as refused:
            yield f"page /{page} {token[:5]}", str(refused.headers).encode() + refused.read()
    config = agent.config
    commands: list[tuple[object, ...]] = [
        ("check", config),
        ("check", "--plan", config),
        ("check", "--plan", "--json", config),
        ("status", config),
        ("status", config, "--json"),
        ("devices", "--config", config),
        *(("devices", device, "--config", config, "--json") for device in REASONS),
        ("outbox", "status", config, "--json"),
        ("outbox", "show", config, "--json"),
        ("outbox", "losses", config, "--json"),
        ("outbox", "export", config, "--jsonl"),
        ("outbox", "dead-letter", "list", config, "--json"),
        ("ids", "plan", config, "--json"),
        ("ids", "export", config, "--json"),
        ("opcua", "trust", "list", config, "--json"),
        ("opcua", "certificate", config, "--json"),
        ("audit", "show", config, "--json"),
        ("audit", "verify", config, "--json"),
        ("drivers", "leaky", "--drivers-path", agent.folder / "drivers"),
        ("schema", "--drivers-path", agent.folder / "drivers"),
    ]
    for command in commands:
        words = [str(word) for word in command]
        result = subprocess.run([EDGE_AGENT, *words], capture_output=True, timeout=30, check=False)
        assert result.returncode == 0, (words, result.stderr)
        yield " ".join(words), result.stdout + result.stderr
