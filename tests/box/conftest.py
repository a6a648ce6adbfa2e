"""The packages that the tests of the installed product install, built once for all of them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(out: Path, revision: int) -> Path:
    command = [
        sys.executable,
        "-m",
        "deploy.package.build",
        "--out",
        str(out),
        "--revision",
        str(revision),
        "--only",
        "deb",
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    (package,) = out.glob("*.deb")
    return package


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The previous build and this one."""
    return build(tmp_path_factory.mktemp("previous"), 1), build(tmp_path_factory.mktemp("this"), 2)
