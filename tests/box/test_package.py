"""The package on a Debian of its own: installed, configured, upgraded with a backlog, removed, purged."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.conftest import build
from tests.box.root import Box, box, until
from tests.e2e.plant import head_yaml, modbus_yaml
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import mosquitto
from tests.servers.ports import free_port
from tests.servers.subscriber import Subscriber, subscriber

pytestmark = [pytest.mark.box, pytest.mark.timeout(400)]

CONFIG = "etc/edge-agent/edge-agent.yaml"


@pytest.fixture
def debian() -> Iterator[Box]:
    with box() as one:
        yield one


def install(debian: Box, package: Path) -> str:
    # Into /root: systemd mounts a fresh /tmp in some systems.
    (debian.root / "root" / package.name).write_bytes(package.read_bytes())
    return debian.run("dpkg", "-i", f"/root/{package.name}")


def state(debian: Box) -> str:
    return debian.run("systemctl", "show", "-P", "ActiveState", "edge-agent", is_checked=False).strip()


def main_pid(debian: Box) -> int:
    return int(debian.run("systemctl", "show", "-P", "MainPID", "edge-agent"))


def committed(debian: Box) -> set[int]:
    """Return the rows that the outbox holds, acknowledged or not."""
    path = debian.root / "var/lib/private/edge-agent/outbox.db"
    query = "import sqlite3,sys,json; print(json.dumps([r for r, in sqlite3.connect(f'file:{sys.argv[1]}?mode=ro',"
    query += "uri=True).execute('SELECT id FROM row')]))"
    shown = subprocess.run([sys.executable, "-c", query, str(path)], check=True, capture_output=True, text=True)
    return set(json.loads(shown.stdout))


def arrived(received: Subscriber) -> set[int]:
    return {row["row"] for message in received.on("/data") for row in message.json()["rows"]}


def test_two_builds_of_the_same_source_are_the_same_bytes(packages: tuple[Path, Path], tmp_path: Path) -> None:
    again = build(tmp_path, 1)
    for path in sorted(packages[0].parent.iterdir()):
        assert (again.parent / path.name).read_bytes() == path.read_bytes(), path.name
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)


def test_lintian_finds_nothing_but_what_is_overridden_by_name(packages: tuple[Path, Path]) -> None:
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", str(packages[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_installed_upgraded_with_a_backlog_removed_and_purged(packages: tuple[Path, Path], debian: Box) -> None:
    previous, this = packages
    with mosquitto() as broker, libmodbus_server() as plc:
        said = install(debian, previous)
        assert "not started" in said
        assert (state(debian), debian.run("systemctl", "is-enabled", "edge-agent", is_checked=False).strip()) == (
            "inactive",
            "disabled",
        )
        assert debian.run("edge-agent", "version").startswith("edge-agent ")
        debian.run("edge-agent", "check", "/usr/share/doc/edge-agent/examples/minimal.yaml")

        broker.stop()
        yaml = f"ops: {{http: '127.0.0.1:{free_port()}'}}\n" + head_yaml(broker) + modbus_yaml(plc.port)
        (debian.root / CONFIG).write_text(yaml)
        debian.run("chown", "root:edge-agent", f"/{CONFIG}")
        debian.run("chmod", "640", f"/{CONFIG}")
        debian.run("systemctl", "enable", "--now", "edge-agent")
        until(lambda: len(committed(debian)) > 10, lambda: "a backlog")
        first, backlog = main_pid(debian), committed(debian)

        install(debian, this)
        assert state(debian) == "active"
        assert main_pid(debian) != first
        assert debian.run("dpkg-query", "-W", "-f", "${Version}", "edge-agent").endswith("-2")
        broker.start()
        with subscriber(broker.port) as received:
            until(lambda: backlog <= arrived(received), lambda: f"all of {len(backlog)} rows arrive")

    debian.run("dpkg", "-r", "edge-agent")
    assert state(debian) == "inactive"
    assert not (debian.root / "usr/lib/edge-agent").exists()
    assert (debian.root / CONFIG).read_text() == yaml
    assert (debian.root / "var/lib/private/edge-agent/outbox.db").stat().st_size > 0

    debian.run("dpkg", "-P", "edge-agent")
    left = debian.run("find", "/etc", "/usr", "/var/lib", "/lib/systemd", "-name", "*edge-agent*").split()
    # dpkg's own log of the system's users and packages is not ours.
    assert left == []
