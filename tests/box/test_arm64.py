"""What the bundle carries for arm64, on an emulated processor: it loads, and the agent answers.

Neither its installer nor the service runs here: an emulated process has no systemd of its own.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.package import bundle, wheels
from deploy.package.release import Release
from tests.box.root import foreign_base

pytestmark = [pytest.mark.box, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
PYTHON = "3.11"  # Debian 12's


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheels of the bundle are laid."""
    folder = tmp_path_factory.mktemp("arm64")
    built = bundle.build(Release.of_source(folder), "aarch64")
    shutil.unpack_archive(built, folder, filter="data")
    carried = sorted((folder / built.name.removesuffix(".tar.gz") / "wheels").glob("*.whl"))
    fitting = [
        wheel for wheel in carried if "-cp3" not in wheel.name or "-cp311-" in wheel.name or "-abi3-" in wheel.name
    ]
    wheels.unpack(fitting, "aarch64", PYTHON, folder / "site")
    return folder / "site"


def emulated(site: Path, code: str) -> str:
    assert shutil.which("qemu-aarch64-static"), "the emulator is not installed: sh tests/servers/install.sh"
    root = foreign_base("aarch64", "arm64")
    begin = f"import sys; sys.path.insert(0, {str(site)!r})\n"
    python = root / "usr/bin" / f"python{PYTHON}"
    done = subprocess.run(
        ["qemu-aarch64-static", "-L", root, python, "-I", "-c", begin + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_compiled_module_loads(site: Path) -> None:
    names = set()
    for file in site.rglob("*.so"):
        names.add(".".join(file.relative_to(site).with_name(file.name.partition(".")[0]).parts))
    assert len(names) > 10
    code = f"import importlib, platform\nfor name in {sorted(names)!r}: importlib.import_module(name)\n"
    assert emulated(site, code + "print(platform.machine())") == "aarch64\n"


def test_the_agent_answers(site: Path) -> None:
    call = "from edge_agent.cli import main\nsys.argv = ['edge-agent', *{arguments!r}]\nsys.exit(main())"
    assert emulated(site, call.format(arguments=["version"])).startswith("edge-agent ")
    emulated(site, call.format(arguments=["check", str(ROOT / "configs" / "service.yaml"), "--plan"]))
