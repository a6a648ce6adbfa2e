"""``make package``: what is handed to a customer, into ``dist``; the same source gives the same bytes."""

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

from deploy.package import bundle, deb
from deploy.package.release import Release
from deploy.package.wheels import LOCK, ROOT


def sbom(release: Release) -> Path:
    """Write the list of what the agent is made of (CycloneDX) and return it."""
    release.out.mkdir(parents=True, exist_ok=True)
    path = release.out / f"edge-agent-{release.version}.cdx.json"
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", str(LOCK)]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"]
    command += ["--output-reproducible", "--output-format", "JSON", "--output-file", str(path)]
    subprocess.run(command, check=True)
    return path


def main() -> None:
    """Build what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--revision", type=int, default=1, help="of the packaging of one version, from 1")
    parser.add_argument("--only", choices=["deb", "bundle"], help="all if it is not said")
    asked = parser.parse_args()
    release = Release.of_source(asked.out.resolve(), asked.revision)
    components = sbom(release)
    made = [components]
    if asked.only in {None, "deb"}:
        made.append(deb.build(release, components))
    if asked.only in {None, "bundle"}:
        made += [bundle.build(release, machine) for machine in bundle.MACHINES]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(made)]
    (release.out / "SHA256SUMS").write_text("".join(sums))
    for path in made:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
