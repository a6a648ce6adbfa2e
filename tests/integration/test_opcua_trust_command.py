"""Certificates as an integrator handles them, beside the agent as a process."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.servers.agent import EDGE_AGENT, AgentProcess, agent
from tests.servers.opcua.certificates import Pair, make_certificate
from tests.servers.opcua_server import NAMESPACE, URI, OpcUaServer, opcua_server

YAML = """\
gateway: {{id: gw-01}}
publishers: []
devices:
  - id: cnc-07
    driver: opcua
    url: {url}
    security_policy: Basic256Sha256
    interval: 100ms
    retry_max: 1s
    points: [{{name: counter, node: "nsu={namespace};s=Counter"}}]
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ea", dir="/tmp") as name:
        yield Path(name)


def opcua(*arguments: object) -> Any:
    done = subprocess.run(
        [EDGE_AGENT, "opcua", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def serving(folder: Path, shown: Pair, state: Path) -> Any:
    """Return a server that shows a certificate and trusts the gateway's own, which is made by the command."""
    state.mkdir(exist_ok=True)
    opcua("certificate", state, "--output", folder / "gateway.der")
    certificate, key = shown.write(folder, "server")
    options: dict[str, Any] = {"security": True, "certificate": str(certificate), "key": str(key)}
    return opcua_server([(folder / "gateway.der").read_bytes()], **options)


def phase(running: AgentProcess) -> str:
    status: Any = running.status()
    return str(status["devices"][0]["phase"])


def until(condition: Callable[[], object], within_s: float) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def readings(running: AgentProcess) -> float:
    return running.metrics()["edge_agent_readings_total"]


@pytest.mark.slow
def test_a_server_is_trusted_beside_the_running_agent_and_a_renewed_one_ahead_of_its_change(
    folder: Path,
) -> None:
    first, renewed = make_certificate(URI, key=2, days=(-1, 30)), make_certificate(URI, key=3)
    state = folder / "state"
    with serving(folder, first, state) as server:
        assert isinstance(server, OpcUaServer)
        with agent(folder, YAML.format(url=server.url, namespace=NAMESPACE)) as running:
            until(lambda: len(opcua("trust", "list", state)) == 2, within_s=20)
            own, refused = opcua("trust", "list", running.config)
            assert (own["standing"], refused["standing"]) == ("own", "rejected")
            assert refused["seen"][0].endswith(
                f" cnc-07 {server.url}: the certificate of the server is not trusted"
            )
            assert phase(running) == "offline"
            assert "edge-agent opcua trust add CONFIG" in running.log.read_text()

            opcua("trust", "add", running.config, refused["fingerprint"][:16])
            until(lambda: phase(running) == "online", within_s=20)
            for which in ("own", "server"):
                assert f'certificate="{which}"' in running._get("metrics")
            assert '"a certificate ends soon"' in running.log.read_text()  # the server's, in 30 days

            shown = subprocess.run(
                [EDGE_AGENT, "status", running.config], capture_output=True, text=True, check=False, timeout=30
            )
            assert "warning: cnc-07: the server certificate ends 20" in shown.stderr
            assert "renew the certificate on the server" in shown.stderr

            certificate, key = renewed.write(folder, "renewed")
            opcua("trust", "add", running.config, certificate)
            server.kill()
            server.start(certificate=str(certificate), key=str(key))
            before = readings(running)
            until(lambda: readings(running) > before + 5, within_s=20)
            assert [one["standing"] for one in opcua("trust", "list", state)] == ["own", "trusted", "trusted"]

            opcua("trust", "remove", running.config, opcua("trust", "list", state)[-1]["fingerprint"])
