"""The wheels that a package carries: the agent's own and those of the lock, for one architecture."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).with_name("requirements.lock")
_BACKEND = Path(__file__).with_name("backend.txt")
# What glibc a wheel may ask for, newest first: Debian 12 has 2.36, the oldest system that we install on 2.28.
_TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def download(machine: str, pythons: Sequence[str]) -> list[Path]:
    """Return the wheels of the lock for ``machine`` (as ``uname -m`` says) and all of ``pythons`` (``3.11``).

    Each is checked against its hash in the lock; what was downloaded before for the same lock is taken again.
    """
    wanted = hashlib.sha256(LOCK.read_bytes() + f"{machine} {pythons} {_TAGS}".encode()).hexdigest()[:16]
    folder = ROOT / ".build/wheels" / f"{machine}-{wanted}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            for python in pythons:
                _pip("download", "--quiet", "--dest", name, *target(machine, python), "--requirement", str(LOCK))
            Path(name).chmod(0o755)
            shutil.copytree(name, folder)
    return sorted(folder.glob("*.whl"))


def own(folder: Path, epoch: int) -> Path:
    """Build the agent's wheel into ``folder`` and return it; all its files are of ``epoch``."""
    # Another backend, other bytes.
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch), "PIP_CONSTRAINT": str(_BACKEND)}
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("edge_agent-*.whl")
    return wheel


def unpack(wheels: Sequence[Path], machine: str, python: str, folder: Path) -> None:
    """Install ``wheels`` into ``folder`` for another machine: nothing of them is run, nothing compiled."""
    options = ("--quiet", "--no-index", "--no-compile", "--target", str(folder))
    _pip("install", *options, *target(machine, python, is_locked=False), *map(str, wheels))


def target(machine: str, python: str, *, is_locked: bool = True) -> list[str]:
    """Return pip's options for wheels of ``machine`` and ``python``, and nothing but these."""
    options = ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    options += ["--require-hashes"] if is_locked else []
    return options + [word for tag in _TAGS for word in ("--platform", f"{tag}_{machine}")]


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)
