"""Known vulnerabilities of what the package carries: ``python -m tests.lock_audit LOCK [options of pip-audit]``.

Exit code 0: every locked version was looked up and none is known to be flawed. 1: some are. 2: could not audit;
that is never a pass, for pip-audit itself ends with 0 when it could look nothing up.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def main(arguments: list[str]) -> int:
    lock, *options = arguments
    try:
        wanted = {(_plain(name), version) for name, version in _PINNED.findall(Path(lock).read_text())}
    except OSError as exc:
        return _could_not(f"{lock}: {exc.strerror}")
    return _audit(lock, wanted, options) if wanted else _could_not(f"{lock} pins nothing")


def _audit(lock: str, wanted: set[tuple[str, str]], options: list[str]) -> int:
    command = [sys.executable, "-m", "pip_audit", "--strict", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run(
        [*command, "--format", "json", "--requirement", lock, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return _could_not(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
    looked_up = {(_plain(one["name"]), one["version"]) for one in told if "skip_reason" not in one}
    vulnerable = [one for one in told if one.get("vulns")]
    for one in vulnerable:
        for flaw in one["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no release"
            print(f"{one['name']} {one['version']}: {flaw['id']}, fixed in {fixed}")
    if missing := wanted - looked_up:
        return _could_not(", ".join(f"{name} {version}" for name, version in sorted(missing)))
    if vulnerable:
        return 1
    if done.returncode:
        return _could_not(f"pip-audit ended with {done.returncode}")
    print(f"{len(wanted)} locked packages, no known vulnerability")
    return 0


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _could_not(why: str) -> int:
    print(f"could not audit: {why}")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
