"""What is shipped for Prometheus, judged by promtool and by a real Prometheus that scrapes a running agent."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.plant import head_yaml, modbus_yaml, until
from tests.servers.agent import AgentProcess
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import mosquitto
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "prometheus"
RULES = SHIPPED / "edge-agent.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "edge-agent.json"
ALERT = re.compile(r"- alert: (\w+)")


def promtool(*arguments: str, given: str = "") -> str:
    assert shutil.which("promtool"), "promtool is not installed: sh tests/servers/install.sh"
    done = subprocess.run(
        ["promtool", *arguments],
        cwd=SHIPPED,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        with urllib.request.urlopen(  # noqa: S310 - the address is ours
            f"{self._url}{path}?{urllib.parse.urlencode(parameters)}", timeout=10
        ) as answer:
            return json.load(answer)["data"]

    def is_up(self) -> bool:
        try:
            return bool(self.query('up{job="edge-agent"} == 1'))
        except OSError:
            return False

    def query(self, expression: str) -> Any:
        return self.get("/api/v1/query", query=expression)["result"]

    def firing(self) -> set[str]:
        alerts = self.get("/api/v1/alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Run one with the rules as shipped, but faster."""
    (folder / "rules.yml").write_text(re.sub(r"\bfor: \w+", "for: 1s", RULES.read_text("utf-8")))
    shipped = (SHIPPED / "prometheus.yml").read_text("utf-8")
    config = shipped.replace(": 15s", ": 200ms").replace("edge-agent.rules.yml", "rules.yml")
    (folder / "prometheus.yml").write_text(config.replace("127.0.0.1:9464", target))
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        one = Prometheus(port)
        until(one.is_up, "Prometheus scrapes the agent")
        yield one
    finally:
        process.terminate()
        process.wait(10)


def test_promtool_takes_the_example_and_the_rules_and_each_alert_does_what_it_should() -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml")
    assert "SUCCESS" in promtool("check", "rules", RULES.name)
    assert "SUCCESS" in promtool("test", "rules", "edge-agent.rules.test.yml")


def test_each_alert_is_tested_and_has_its_place_in_the_runbook() -> None:
    alerts = ALERT.findall(RULES.read_text("utf-8"))
    tests = (SHIPPED / "edge-agent.rules.test.yml").read_text("utf-8")
    headings = re.findall(r"^## (\w+)", (ROOT / "docs" / "alerts.md").read_text("utf-8"), re.MULTILINE)
    assert headings == alerts
    for alert in alerts:
        assert f"{alert} fires" in tests
        assert f"{alert} is quiet" in tests
        assert f"docs/alerts.md#{alert.lower()}" in RULES.read_text("utf-8")


def test_the_rules_ask_for_metrics_that_there_are() -> None:
    named = set(re.findall(r"edge_agent_\w+", RULES.read_text("utf-8")))
    there = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    assert {name for name in named if f"`{name.removesuffix('_bucket')}`" not in there} == set()


@pytest.mark.slow
def test_a_real_prometheus_scrapes_it_and_an_alert_fires_and_clears(folder: Path) -> None:
    with mosquitto() as broker, libmodbus_server() as plc:
        agent = AgentProcess(folder, head_yaml(broker) + modbus_yaml(plc.port))
        agent.start()
        try:
            with urllib.request.urlopen(f"http://{agent.ops}/metrics") as answer:
                promtool("check", "metrics", given=answer.read().decode())
            with prometheus(folder, agent.ops) as watching:
                until(lambda: watching.query("edge_agent_publisher_up == 1"), "the publisher is up")
                assert "EdgeAgentPublisherDisconnected" not in watching.firing()
                expressions = list(queries())
                assert len(expressions) > 20
                # A rate needs two scrapes.
                until(lambda: not empty(watching, expressions), "every query of the dashboard shows something")
                broker.stop()
                until(lambda: "EdgeAgentPublisherDisconnected" in watching.firing(), "the alert fires")
                broker.start()
                until(lambda: "EdgeAgentPublisherDisconnected" not in watching.firing(), "the alert clears")
        finally:
            agent.stop()


def empty(watching: Prometheus, expressions: list[str]) -> list[str]:
    """Return the queries that show nothing of a running agent."""
    return [one for one in expressions if not watching.query(one)]


def queries() -> Iterator[str]:
    """Yield what the dashboard asks for, with its variables filled in."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield (
                target["expr"]
                .replace("$__rate_interval", "2s")
                .replace("$instance", ".*")
                .replace("$device", ".*")
                .replace("$publisher", ".*")
            )
