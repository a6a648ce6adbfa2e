"""The package for Debian 12 on amd64: its own virtual environment for Debian's Python, unit, completions."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from deploy.package import wheels
from deploy.package.release import Release, settle
from deploy.package.wheels import ROOT

PYTHON = "3.11"
MAINTAINER = "edge-agent maintainers <maintainers@edge-agent.invalid>"
# The one place that says where the package keeps the agent; systemd/edge-agent.service has the bundle's.
HOME = "usr/lib/edge-agent"
_BUNDLE_BIN = "/opt/edge-agent/bin/edge-agent"
_PACKAGE_BIN = "/usr/bin/edge-agent"
_HERE = Path(__file__).parent
_LAUNCHER = f"""#!/{HOME}/bin/python3 -I
import sys

from edge_agent.cli import main

sys.exit(main())
"""
_COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/edge-agent",
    "zsh": "usr/share/zsh/vendor-completions/_edge-agent",
    "fish": "usr/share/fish/vendor_completions.d/edge-agent.fish",
}


def build(release: Release, sbom: Path) -> Path:
    """Build the package into ``release.out`` and return it."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name, "root")
        _environment(release, root)
        _service(root)
        _shell(root)
        _documentation(release, root, sbom)
        settle(root, release.epoch)
        return _pack(release, root)


def _environment(release: Release, root: Path) -> None:
    home = root / HOME
    site = home / "lib" / f"python{PYTHON}" / "site-packages"
    (home / "bin").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        carried = [wheels.own(Path(name), release.epoch), *wheels.download("x86_64", [PYTHON])]
        # sqlite-utils asks for pip, to install its own plugins: not here.
        carried = [wheel for wheel in carried if not wheel.name.startswith("pip-")]
        wheels.unpack(carried, "x86_64", PYTHON, site)
    shutil.rmtree(site / "bin", ignore_errors=True)
    # dpkg knows what is installed; and these would name the folder of the build.
    for pattern in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        for path in site.glob(f"*.dist-info/{pattern}"):
            path.unlink()
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (home / "bin/python3").symlink_to(f"../../../bin/python{PYTHON}")
    launcher = home / "bin/edge-agent"
    launcher.write_text(_LAUNCHER)
    launcher.chmod(0o755)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/edge-agent").symlink_to(f"../lib/{Path(HOME).name}/bin/edge-agent")
    settle(root, release.epoch)
    # Never compared with the source, so never written again, and the same in every build.
    command = [_interpreter(), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(root), "-p", "/", str(site)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "0"})


def _interpreter() -> str:
    """Return a Python that writes the byte code that Debian's reads."""
    if sys.version_info[:2] == tuple(map(int, PYTHON.split("."))):
        return sys.executable
    found = shutil.which(f"python{PYTHON}")
    if found is None:
        raise SystemExit(f"building the package needs Python {PYTHON}, whose byte code it carries")
    return found


def _service(root: Path) -> None:
    unit = (ROOT / "systemd/edge-agent.service").read_text()
    if f"ExecStart={_BUNDLE_BIN} " not in unit:
        raise SystemExit(f"systemd/edge-agent.service: does not start {_BUNDLE_BIN}")
    _write(root / "lib/systemd/system/edge-agent.service", unit.replace(_BUNDLE_BIN, _PACKAGE_BIN))
    for kind in ("sysusers", "tmpfiles"):
        _copy(ROOT / f"systemd/edge-agent.{kind}", root / f"usr/lib/{kind}.d/edge-agent.conf")
    (root / "etc/edge-agent").mkdir(parents=True)


def _shell(root: Path) -> None:
    for shell, path in _COMPLETIONS.items():
        command = [sys.executable, "-m", "edge_agent"]
        environment = os.environ | {"_EDGE_AGENT_COMPLETE": f"source_{shell}"}
        shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        _write(root / path, shown.stdout)
    _zip((_HERE / "edge-agent.1").read_bytes(), root / "usr/share/man/man1/edge-agent.1.gz")


def _documentation(release: Release, root: Path, sbom: Path) -> None:
    folder = root / "usr/share/doc/edge-agent"
    _copy(_HERE / "debian/copyright", folder / "copyright")
    _copy(sbom, folder / "sbom.cdx.json")
    _copy(_HERE / "debian/overrides", root / "usr/share/lintian/overrides/edge-agent")
    for example in sorted((ROOT / "configs").glob("*.yaml")):
        _copy(example, folder / "examples" / example.name)
    _zip((ROOT / "CHANGELOG.md").read_bytes(), folder / "changelog.gz")
    day = format_datetime(datetime.fromtimestamp(release.epoch, UTC))
    entry = f"edge-agent ({release.version}-{release.revision}) unstable; urgency=medium\n\n"
    entry += f"  * Version {release.version}: changelog.gz says what changed.\n\n -- {MAINTAINER}  {day}\n"
    _zip(entry.encode(), folder / "changelog.Debian.gz")


def _pack(release: Release, root: Path) -> Path:
    settings = {
        "name": "edge-agent",
        "arch": "amd64",
        "version": release.version,
        "version_schema": "none",
        "release": str(release.revision),
        "section": "net",
        "priority": "optional",
        "maintainer": MAINTAINER,
        "description": "connects factory machines to the cloud\n"
        "edge-agent polls PLCs and machine tools (Modbus, OPC UA), keeps every reading\n"
        "on disk until the cloud confirmed it, and publishes over MQTT.\n"
        "It starts nothing before it is configured.",
        "depends": [
            f"python3 (>= {PYTHON})",
            "python3 (<< 3.12)",
            f"python{PYTHON}",
            "libc6 (>= 2.28)",
            "systemd",
        ],
        "contents": [{"src": f"{root}/", "dst": "/", "type": "tree"}],
        "scripts": {
            "postinstall": str(_HERE / "debian/postinst"),
            "preremove": str(_HERE / "debian/prerm"),
            "postremove": str(_HERE / "debian/postrm"),
        },
        "mtime": datetime.fromtimestamp(release.epoch, UTC).isoformat().replace("+00:00", "Z"),
        "deb": {"compression": "xz"},
    }
    release.out.mkdir(parents=True, exist_ok=True)
    package = release.out / f"edge-agent_{release.version}-{release.revision}_amd64.deb"
    config = root.parent / "nfpm.json"  # JSON is YAML
    config.write_text(json.dumps(settings))
    command = [str(Path(sys.executable).with_name("nfpm")), "package", "--config", str(config)]
    command += ["--packager", "deb", "--target", str(package)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(release.epoch)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return package


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)


def _zip(content: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 9, mtime=0))
