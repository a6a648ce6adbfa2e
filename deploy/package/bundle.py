"""The bundle for other distributions and for arm64: hash-checked wheels, and a script that needs no network."""

import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from deploy.package import wheels
from deploy.package.release import Release, settle
from deploy.package.wheels import LOCK, ROOT

MACHINES = ("x86_64", "aarch64")
PYTHONS = ("3.11", "3.12", "3.13")
_INSTALLER = Path(__file__).with_name("bundle") / "install.sh"


def build(release: Release, machine: str) -> Path:
    """Build the bundle for ``machine`` (as ``uname -m`` says) into ``release.out`` and return it."""
    name = f"edge-agent-{release.version}-linux-{machine}"
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary, name)
        carried = root / "wheels"
        carried.mkdir(parents=True)
        own = wheels.own(carried, release.epoch)
        for wheel in wheels.download(machine, PYTHONS):
            shutil.copyfile(wheel, carried / wheel.name)
        digest = hashlib.sha256(own.read_bytes()).hexdigest()
        locked = LOCK.read_text("utf-8")
        (root / "requirements.txt").write_text(f"edge-agent=={release.version} --hash=sha256:{digest}\n{locked}")
        (root / "MACHINE").write_text(f"{machine}\n")
        (root / "VERSION").write_text(f"{release.version}\n")
        (root / "PYTHONS").write_text("".join(f"{python}\n" for python in PYTHONS))
        for service in sorted((ROOT / "systemd").iterdir()):
            shutil.copyfile(service, root / service.name)
        shutil.copytree(ROOT / "configs", root / "examples")
        shutil.copyfile(ROOT / "LICENSE", root / "LICENSE")
        shutil.copyfile(_INSTALLER, root / "install.sh")
        (root / "install.sh").chmod(0o755)
        settle(root, release.epoch)
        return _pack(root, release)


def _pack(root: Path, release: Release) -> Path:
    """Pack ``root`` so that the same files are the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in [root, *sorted(root.rglob("*"))]:
            entry = archive.gettarinfo(path, arcname=str(path.relative_to(root.parent)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            with path.open("rb") if path.is_file() else io.BytesIO() as content:
                archive.addfile(entry, content if path.is_file() else None)
    release.out.mkdir(parents=True, exist_ok=True)
    bundle = release.out / f"{root.name}.tar.gz"
    bundle.write_bytes(gzip.compress(plain.getvalue(), 6, mtime=0))
    return bundle
