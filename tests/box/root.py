"""A Debian 12 of its own, booted by its own systemd, that shares nothing with this machine but the network.

The base is made once below ``.build`` from the mirror that this machine's apt uses.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_BUILD = Path(__file__).parents[2] / ".build"
_INCLUDE = "systemd,dbus,python3,python3.11,python3-venv"
_BASE = _BUILD / f"box-root-{zlib.crc32(_INCLUDE.encode()):08x}"  # another content, another root
# systemd sees a fresh /run: in the host's it would find, and empty, what is not its own.
_BOOT = (
    "mount -t tmpfs tmpfs /run && mkdir /run/systemd && "
    "exec systemd-nspawn -q -D {root} -b --register=no --keep-unit --console=read-only"
)


@dataclass(frozen=True, slots=True)
class Box:
    """A running system; ``root`` are its files."""

    root: Path
    leader: int

    def run(self, *command: str, is_checked: bool = True, within_s: float = 120) -> str:
        """Run a command in it; return what it printed."""
        words = ["nsenter", "-t", str(self.leader), "-a", "env", "-i", "-C", "/", f"PATH={_PATH}", *command]
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=within_s, check=False
        )
        assert not is_checked or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout


_PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextmanager
def box() -> Iterator[Box]:
    """Boot a fresh copy of the base; on leaving it is gone with all that ran in it."""
    with tempfile.TemporaryDirectory(prefix="box-", dir=_base().parent) as name:
        root = Path(name, "root")
        subprocess.run(["cp", "-a", "--reflink=auto", str(_base()), str(root)], check=True)
        log = Path(name, "console.log")
        with log.open("wb") as console:
            process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", _BOOT.format(root=root)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        leader = 0
        try:
            leader = _leader(process, log)
            one = Box(root, leader)
            until(
                lambda: one.run("systemctl", "is-system-running", is_checked=False).strip() == "running",
                lambda: f"the system is up:\n{one.run('systemctl', '--failed', '--no-pager', is_checked=False)}",
            )
            yield one
        finally:
            if leader:  # with the first of them all processes of its namespace end, pid_namespaces(7)
                with suppress(ProcessLookupError):
                    os.kill(leader, signal.SIGKILL)
            process.kill()
            process.wait()
            until(lambda: not leader or not Path(f"/proc/{leader}").exists(), lambda: "everything in it ended")


def until(condition: Callable[[], object], what: Callable[[], str], within_s: float = 60.0) -> None:
    """Wait until ``condition`` holds."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, f"did not happen within {within_s} s: {what()}"
        time.sleep(0.05)


def _leader(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """Return the process id of the system's first process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found: list[int] = []

    def is_there() -> bool:
        assert process.poll() is None, f"nspawn ended: {log.read_text(errors='replace')}"
        found[:] = [
            int(child)
            for child in children.read_text().split()
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd"
        ]
        return bool(found)

    until(is_there, lambda: log.read_text(errors="replace"))
    return found[0]


def _base() -> Path:
    """Return a minimal Debian 12, made at the first call."""
    if not _BASE.is_dir():
        for tool in ("debootstrap", "systemd-nspawn"):
            assert shutil.which(tool), f"{tool} is not installed: sh tests/servers/install.sh"
        _BUILD.mkdir(exist_ok=True)
        made = _BUILD / f"box-root.{os.getpid()}"
        command = ["debootstrap", "--variant=minbase", f"--include={_INCLUDE}", "bookworm", str(made), _mirror()]
        try:
            subprocess.run(command, check=True, capture_output=True)
            made.rename(_BASE)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return _BASE


def foreign_base(machine: str, architecture: str) -> Path:
    """Return the files of a Debian 12 with Python for another processor, made at the first call.

    Nothing of it has been run: its programs are for an emulator, called by name.
    """
    base = _BUILD / f"box-root-{machine}"
    if not base.is_dir():
        _BUILD.mkdir(exist_ok=True)
        made = _BUILD / f"box-root-{machine}.{os.getpid()}"
        command = ["debootstrap", "--variant=minbase", f"--arch={architecture}", "--foreign", "--include=python3"]
        try:
            subprocess.run([*command, "bookworm", str(made), _mirror()], check=True, capture_output=True)
            for package in (made / "var/cache/apt/archives").glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", str(package), str(made)], check=True)
            made.rename(base)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return base


def _mirror() -> str:
    """Return where this machine's apt takes Debian 12 from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: bookworm"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert listed, "apt knows no Debian 12"
    return listed[0]
