"""The lock holds all that the agent needs at run time, and what it holds is what pyproject.toml allows."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deploy/package/requirements.lock"
SCRIPTS = sorted((ROOT / "deploy/package/debian").glob("p*"))


def locked() -> dict[str, str]:
    pairs = re.findall(r"^([a-z0-9-]+)==(\S+) \\$", LOCK.read_text(), re.MULTILINE)
    return dict(pairs)


def wanted() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    yield from map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["speed"]])


def test_every_requirement_is_locked_at_a_version_that_it_allows() -> None:
    versions = locked()
    for requirement in wanted():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), str(requirement)


def test_what_the_locked_libraries_need_is_locked_too() -> None:
    versions = locked()
    seen: set[str] = set()
    pending = [canonicalize_name(requirement.name) for requirement in wanted()]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        assert name in versions, f"{name} is needed and not locked: make lock"
        here = distribution(name)
        # What another version needs says nothing; the package itself is tried on a Debian of its own.
        for text in (here.requires or []) if here.version == versions[name] else []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(canonicalize_name(requirement.name))


def test_every_library_has_hashes_and_no_address() -> None:
    text = LOCK.read_text()
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked())
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    assert "://" not in text


def test_maintainer_scripts_pass_shellcheck() -> None:
    assert len(SCRIPTS) == 3
    done = subprocess.run(
        [str(Path(sys.executable).with_name("shellcheck")), *map(str, SCRIPTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
