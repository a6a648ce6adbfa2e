"""What is released: a version, a moment, and the folder for it."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.package.wheels import ROOT


@dataclass(frozen=True, slots=True)
class Release:
    """One build; the same release gives the same bytes.

    Args:
        version: of the agent.
        revision: of the packaging of this version, from 1.
        epoch: seconds since 1970 that every file carries.
        out: gets what is built.
    """

    version: str
    revision: int
    epoch: int
    out: Path

    @classmethod
    def of_source(cls, out: Path, revision: int = 1) -> "Release":
        """Return the release of this source tree: the version it says, the time of its commit."""
        found = re.search(
            r'^__version__ = "([^"]+)"$', (ROOT / "edge_agent/__init__.py").read_text(), re.MULTILINE
        )
        if found is None:
            raise SystemExit("edge_agent/__init__.py says no version")
        return cls(found[1], revision, _epoch(), out)


def _epoch() -> int:
    if text := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(text)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise SystemExit("no git history to take a time from: set SOURCE_DATE_EPOCH")
    return int(shown.stdout)


def settle(folder: Path, epoch: int) -> None:
    """Give every file below ``folder`` the time ``epoch`` and modes that do not depend on the umask."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            is_run = path.is_dir() or (path.stat().st_mode & 0o100 and ".so" not in path.suffixes)
            path.chmod(0o755 if is_run else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
