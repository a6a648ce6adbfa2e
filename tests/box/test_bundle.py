"""The offline bundle on a Debian of its own: installed, upgraded while it runs, uninstalled, purged."""

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.root import Box, box, until
from tests.e2e.plant import head_yaml, modbus_yaml
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import mosquitto
from tests.servers.ports import free_port
from tests.servers.subscriber import subscriber

pytestmark = [pytest.mark.box, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
CONFIG = "etc/edge-agent/edge-agent.yaml"


def build(out: Path) -> dict[str, Path]:
    command = [sys.executable, "-m", "deploy.package.build", "--out", str(out), "--only", "bundle"]
    subprocess.run(command, cwd=ROOT, check=True)
    return {machine: next(out.glob(f"*-{machine}.tar.gz")) for machine in ("x86_64", "aarch64")}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundles, by machine."""
    return build(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def debian() -> Iterator[Box]:
    with box() as one:
        yield one


def unpacked(debian: Box, bundle: Path) -> str:
    """Return the folder inside in which the bundle is."""
    with tarfile.open(bundle) as archive:
        archive.extractall(debian.root / "root", filter="tar")
    return f"/root/{bundle.name.removesuffix('.tar.gz')}"


def test_the_script_is_sound() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    subprocess.run([shellcheck, ROOT / "deploy/package/bundle/install.sh"], check=True)


def test_two_builds_of_the_same_source_are_the_same_bytes(bundles: dict[str, Path], tmp_path: Path) -> None:
    for machine, again in build(tmp_path).items():
        assert again.read_bytes() == bundles[machine].read_bytes(), machine


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_library_has_a_wheel_for_the_machine_and_each_python(bundles: dict[str, Path], machine: str) -> None:
    with tarfile.open(bundles[machine]) as archive:
        names = [Path(name).name for name in archive.getnames() if name.endswith(".whl")]
    locked = (ROOT / "deploy/package/requirements.lock").read_text("utf-8")
    libraries = {
        line.partition("==")[0].replace("-", "_").lower() for line in locked.splitlines() if line[0] != " "
    }
    for python in ("311", "312", "313"):
        fitting = {name.partition("-")[0].lower() for name in names if fits(name, machine, python)}
        assert libraries <= fitting, python


def fits(wheel: str, machine: str, python: str) -> bool:
    _, tag, abi, platform = wheel.removesuffix(".whl").rsplit("-", 3)
    is_interpreter = tag.startswith("py3") or "py3" in tag or tag == f"cp{python}" or abi == "abi3"
    return is_interpreter and (platform == "any" or platform.endswith(machine))


def test_installed_upgraded_uninstalled_and_purged(bundles: dict[str, Path], debian: Box) -> None:
    folder = unpacked(debian, bundles["x86_64"])
    said = debian.run("sh", "-c", f"umask 077; {folder}/install.sh")  # as careful people have it
    assert "Write /etc/edge-agent/edge-agent.yaml" in said
    assert debian.run("systemctl", "is-enabled", "edge-agent", is_checked=False).strip() == "disabled"
    with mosquitto() as broker, libmodbus_server() as plc, subscriber(broker.port) as received:
        yaml = f"ops: {{http: '127.0.0.1:{free_port()}'}}\n" + head_yaml(broker) + modbus_yaml(plc.port)
        (debian.root / CONFIG).write_text(yaml)
        debian.run("chown", "root:edge-agent", f"/{CONFIG}")
        debian.run("chmod", "640", f"/{CONFIG}")
        debian.run("edge-agent", "check", f"/{CONFIG}")
        debian.run("systemctl", "enable", "--now", "edge-agent")
        until(lambda: received.on("/data"), lambda: debian.run("journalctl", "-u", "edge-agent"))
        pid, target = main_pid(debian), debian.run("readlink", "/opt/edge-agent")

        debian.run(f"{folder}/install.sh")
        assert main_pid(debian) not in {pid, "0"}
        assert debian.run("readlink", "/opt/edge-agent") != target
        assert len(debian.run("sh", "-c", "ls -d /opt/edge-agent-*").split()) == 1
        target = debian.run("readlink", "/opt/edge-agent")

        # A version that does not start.
        unit = debian.root / folder.lstrip("/") / "edge-agent.service"
        sound = unit.read_text("utf-8")
        unit.write_text(sound.replace("ExecStart=/opt/edge-agent/bin/edge-agent", "ExecStart=/bin/false"))
        said = debian.run("sh", "-c", f"{folder}/install.sh; echo exit $?")
        assert "did not start: the previous version is back" in said
        assert said.endswith("exit 1\n")
        assert debian.run("readlink", "/opt/edge-agent") == target
        assert len(debian.run("sh", "-c", "ls -d /opt/edge-agent-*").split()) == 1
        assert debian.run("systemctl", "is-active", "edge-agent").strip() == "active"
        unit.write_text(sound)
        before = len(received.on("/data"))
        until(lambda: len(received.on("/data")) > before, lambda: debian.run("journalctl", "-u", "edge-agent"))

    debian.run(f"{folder}/install.sh", "--uninstall")
    assert debian.run("systemctl", "is-active", "edge-agent", is_checked=False).strip() == "inactive"
    assert (debian.root / CONFIG).read_text() == yaml
    assert (debian.root / "var/lib/private/edge-agent/outbox.db").stat().st_size > 0
    debian.run(f"{folder}/install.sh", "--purge")
    left = debian.run("find", "/etc", "/opt", "/usr", "/var/lib", "-name", "*edge-agent*").split()
    assert left == []


def test_what_cannot_work_is_said_before_anything_is_done(bundles: dict[str, Path], debian: Box) -> None:
    folder = unpacked(debian, bundles["aarch64"])
    said = debian.run(f"{folder}/install.sh", is_checked=False)
    assert "this bundle is for aarch64, and this machine is x86_64" in said
    assert "usage" in debian.run(f"{folder}/install.sh", "--nonsense", is_checked=False)
    folder = unpacked(debian, bundles["x86_64"])
    debian.run("mkdir", "/opt/edge-agent")
    for asked in ([], ["--uninstall"], ["--purge"]):
        assert "move it away" in debian.run(f"{folder}/install.sh", *asked, is_checked=False)
    assert (debian.root / "opt/edge-agent").is_dir()
    assert not (debian.root / "etc/systemd/system/edge-agent.service").exists()


def main_pid(debian: Box) -> str:
    return debian.run("systemctl", "show", "-P", "MainPID", "edge-agent").strip()
