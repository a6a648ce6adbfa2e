"""The agent as a process: how it starts, answers, is watched, and ends."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.servers.agent import EDGE_AGENT, AgentProcess, agent
from tests.servers.listeners import Listener, listeners
from tests.servers.opcua.reading import points
from tests.servers.opcua.site import OWN, SHOWN
from tests.servers.opcua_server import opcua_server
from tests.servers.ports import free_port

CANARY = "canary-7f3a9c"
YAML = """\
gateway: {{id: gw-01}}
publishers:
  - {{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1:{port}"], username: edge, password: !env CANARY}}
devices:
  - id: press-01
    driver: modbus
    host: 127.0.0.1
    port: {port}
    connect_timeout: 500ms
    points: [{{name: temperature, register: 40001, type: float32}}]
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with a name short enough for a Unix socket; the secret of ``YAML`` is set."""
    monkeypatch.setenv("CANARY", CANARY)
    with TemporaryDirectory(prefix="ea", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def yaml() -> str:
    return YAML.format(port=free_port())  # nobody there: the device and the broker stay away


def edge_agent(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [EDGE_AGENT, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def until(condition: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


def log_lines(running: AgentProcess) -> list[dict[str, object]]:
    return [json.loads(line) for line in running.log.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_stops_in_order_and_ends_with_0(folder: Path, yaml: str, number: signal.Signals) -> None:
    with agent(folder, yaml) as running:
        assert running.process
        running.process.send_signal(number)
        assert running.process.wait(15) == 0
        assert log_lines(running)[-1]["message"] == "agent stopped"
        assert not (folder / "control.sock").exists()


def test_a_second_signal_works_even_if_the_loop_is_stuck(folder: Path) -> None:
    script = folder / "stuck.py"
    script.write_text(
        "import asyncio, signal, sys, time\n"
        "from edge_agent.cli import run\n"
        "class Stuck:\n"
        "    async def run(self):\n"
        "        try:\n"
        "            print('running', flush=True)\n"
        "            await asyncio.Event().wait()\n"
        "        finally:\n"
        "            print('stuck', flush=True)\n"
        "            time.sleep(60)\n"
        "class Idle:\n"
        "    def ask(self):\n"
        "        pass\n"
        "    async def run(self):\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(run._until_stopped(Stuck(), Idle()))\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        process.terminate()
        assert process.stdout.readline() == "stuck\n"
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM


@pytest.mark.slow
def test_the_service_manager_is_told_of_start_life_and_stop(
    folder: Path, yaml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        with agent(folder, yaml):
            while (told := manager.recv(100)) != b"READY=1":
                assert told.startswith(b"EXTEND_TIMEOUT_USEC=")
            messages = {manager.recv(100).partition(b"=")[0] for _ in range(4)}
            assert b"WATCHDOG" in messages
        last = b""
        while last != b"STOPPING=1":
            last = manager.recv(100)


def test_a_busy_port_ends_it_with_1_and_says_what_to_do(folder: Path, yaml: str) -> None:
    one = AgentProcess(folder, yaml)
    host, _, port = one.ops.partition(":")
    with socket.create_server((host, int(port))):
        result = edge_agent("run", one.config)
    assert result.returncode == 1
    (line,) = [json.loads(line) for line in result.stderr.splitlines() if '"critical"' in line]
    assert "Address already in use; set ops.http" in line["reason"]
    assert "traceback" not in line


def test_a_disk_that_takes_no_writes_does_not_end_it(folder: Path, yaml: str) -> None:
    one = AgentProcess(folder, yaml)
    limited = f'ulimit -f 60; exec "{EDGE_AGENT}" run "{one.config}"'  # blocks of 512 bytes; beyond them, EFBIG
    with subprocess.Popen(["sh", "-c", limited], stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr
            missing = {"agent starts", "the outbox cannot be written"}
            while missing:
                missing.discard(json.loads(process.stderr.readline())["message"])
            until(lambda: is_away(one), "it goes on with its device")
            assert process.poll() is None
        finally:
            process.kill()


def is_away(one: AgentProcess) -> bool:
    try:
        return one.status()["devices"][0]["phase"] == "offline"  # type: ignore[index, no-any-return]
    except OSError:  # it does not listen yet
        return False


@pytest.mark.slow
def test_a_second_agent_on_the_same_state_ends_with_1_and_the_first_goes_on(folder: Path, yaml: str) -> None:
    with agent(folder, yaml) as running:
        result = edge_agent("run", running.config)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert running.status()["gateway"] == "gw-01"


def test_a_bad_configuration_ends_with_78_before_anything_is_made(folder: Path, yaml: str) -> None:
    one = AgentProcess(folder, yaml.replace("register: 40001", "register: 0"))
    result = edge_agent("run", one.config)
    assert result.returncode == 78
    assert re.match(rf"{re.escape(str(one.config))}:\d+:\d+: devices\[0\]\.points\[0\]", result.stderr)
    assert not one.state.exists()


FILES_MISSING = """\
gateway: {{id: gw-01}}
publishers: []
devices:
  - {{id: plain, driver: opcua, url: "{url}", points: [{{name: feed, node: "{node}"}}]}}
  - id: secure
    driver: opcua
    url: "{url}"
    retry_max: 1s
    security_policy: Basic256Sha256
    certificate: own.pem
    private_key: own.key
    trusted: server.pem
    points: [{{name: feed, node: "{node}"}}]
"""


@pytest.mark.slow
def test_a_device_whose_files_are_missing_at_start_stops_nobody_and_heals_when_they_come(folder: Path) -> None:
    certificate, key = SHOWN.write(folder / "server", "server")
    shown: dict[str, Any] = {"security": True, "certificate": str(certificate), "key": str(key)}
    with opcua_server([OWN.der], **shown) as server:
        yaml = FILES_MISSING.format(url=server.url, node=points(["Feed"])[0]["node"])
        with agent(folder, yaml) as running:

            def devices(key: str) -> dict[str, object]:
                found: Any = running.status()["devices"]
                return {it["id"]: it[key] for it in found}

            until(lambda: devices("phase") == {"plain": "online", "secure": "offline"}, "one is online", 30)
            assert devices("reason")["secure"] == (
                f"cannot read {folder}/own.pem: No such file or directory; "
                "see that it is there and that the agent's user may read it"
            )
            checked = edge_agent("check", running.config)
            assert checked.returncode == 78
            missing = [folder / one for one in ("own.pem", "own.key", "server.pem")]
            for file, line in zip(missing, checked.stderr.splitlines(), strict=True):
                assert re.match(rf"{re.escape(str(running.config))}:\d+:\d+: devices\[1\]", line)
                assert line.endswith(f"{file} does not exist")
            SHOWN.write(folder, "server")
            _, own_key = OWN.write(folder, "own")
            own_key.chmod(0o600)
            until(lambda: devices("phase") == {"plain": "online", "secure": "online"}, "both are online", 30)


@pytest.mark.slow
def test_status_shows_devices_outbox_and_publishers(folder: Path, yaml: str) -> None:
    with agent(folder, yaml) as running:
        until(lambda: running.status()["devices"][0]["phase"] == "offline", "the device is away")  # type: ignore[index]
        shown = edge_agent("status", running.config)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert re.search(r"^gateway gw-01, edge-agent \S+, up \d+ s, config ", shown.stdout)
        assert re.search(r"^press-01\tmodbus\toffline\t\d+ s\t1\t1\t$", shown.stdout, re.MULTILINE)
        assert re.search(r"^press-01: .*nothing listens there", shown.stdout, re.MULTILINE)
        assert re.search(r"^cloud\t\tnot connected\t0\t0\t0\t\d\t$", shown.stdout, re.MULTILINE)
        assert re.search(r"^cloud: .*refused the connection", shown.stdout, re.MULTILINE)
        assert re.search(r"^outbox: \d rows? in ", shown.stdout, re.MULTILINE)
        values = edge_agent("devices", "press-01", "--config", running.config)
        assert re.search(r"^temperature\t\t\tBAD_NO_COMMUNICATION\t", values.stdout, re.MULTILINE)
        assert json.loads(edge_agent("status", running.config, "--json").stdout)["gateway"] == "gw-01"


@pytest.mark.slow
def test_the_outbox_is_shown_beside_the_running_agent_and_after_it(folder: Path, yaml: str) -> None:
    with agent(folder, yaml) as running:
        until(lambda: edge_agent("outbox", "show", running.state).stdout.count("\n") > 1, "a row is on disk")
    for path in (running.config, running.state, running.state / "outbox.db"):
        status = edge_agent("outbox", "status", path)
        assert (status.returncode, status.stderr) == (0, "")
        assert re.search(r"^press-01\ttrend\t1\t1$", status.stdout, re.MULTILINE)
        assert re.search(r"^cloud\t1\t", status.stdout, re.MULTILINE)
    (row,) = json.loads(edge_agent("outbox", "show", running.state, "--json").stdout)
    assert (row["device"], row["readings"][0]["point"]) == ("press-01", "temperature")
    nothing = edge_agent("outbox", "show", running.state, "--json", "--device", "lathe")
    assert (nothing.returncode, "there are rows of press-01" in nothing.stderr) == (1, True)
    assert json.loads(edge_agent("outbox", "status", running.state, "--json").stdout)["rows"] == 1
    missing = edge_agent("outbox", "status", folder / "none.db")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "there is no outbox at" in missing.stderr


def test_it_listens_where_it_is_told_and_nowhere_else(folder: Path, yaml: str) -> None:
    with agent(folder, yaml) as running:
        assert running.process
        expected = {Listener("tcp", *running.ops.split(":")), Listener("unix", str(folder / "control.sock"))}
        assert listeners(running.process.pid) == expected


@pytest.mark.slow
def test_the_log_is_json_and_a_secret_is_in_no_output(folder: Path, yaml: str) -> None:
    with agent(folder, yaml) as running:
        until(lambda: running.status()["devices"][0]["phase"] == "offline", "the device is away")  # type: ignore[index]
        pages = json.dumps([running.status(), running.metrics()])
        commands = [("check", "--json"), ("check", "--plan"), ("status", "--json"), ("status",)]
        printed = [edge_agent(word, running.config, *options) for word, *options in commands]
    assert all({"ts", "level", "logger", "message"} <= set(line) for line in log_lines(running))
    assert all(result.returncode == 0 for result in printed)
    texts = [pages, running.log.read_text(), *(result.stdout + result.stderr for result in printed)]
    assert not any(CANARY in text for text in texts)


def test_version_is_quick() -> None:
    def seconds(*command: object) -> float:
        began_s = time.monotonic()
        subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, timeout=60, check=True)
        return time.monotonic() - began_s

    # A third of it is Python and what reads the command line.
    took_s = [(seconds(EDGE_AGENT, "version"), seconds(sys.executable, "-c", "import typer")) for _ in range(5)]
    version_s, python_s = map(min, zip(*took_s, strict=True))
    assert version_s < 6 * python_s


def imports_of(*arguments: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edge_agent", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["drivers"]])
def test_small_commands_load_no_large_library(arguments: list[str]) -> None:
    modules = imports_of(*arguments)
    assert "typer" in modules
    large = {"aiohttp", "asyncua", "paho", "pymodbus", "rich", "sqlite_utils", "edge_agent_modbus"}
    assert not modules & large
