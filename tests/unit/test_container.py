"""The container files: linted, and in step with the rest. They are not built here."""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "container"
CONTAINERFILE = FOLDER / "Containerfile"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))


def test_the_linter_finds_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, CONTAINERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there() -> None:
    for line in CONTAINERFILE.read_text("utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


def test_the_agent_runs_as_nobody_else_and_writes_nowhere_else() -> None:
    agent = COMPOSE["services"]["agent"]
    assert agent["read_only"]
    assert agent["cap_drop"] == ["ALL"]
    user = next(line for line in CONTAINERFILE.read_text("utf-8").splitlines() if line.startswith("USER"))
    uid = user.removeprefix("USER ").partition(":")[0]
    assert int(uid) > 0
    assert any(f"uid={uid}" in mount for mount in agent["tmpfs"])
    assert (FOLDER / agent["build"]["context"] / agent["build"]["dockerfile"]).resolve() == CONTAINERFILE


def test_every_service_is_confined_and_of_a_named_version_and_every_volume_is_declared() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "build" in service or ":" in service["image"], name
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or source[0] in "./", volume
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), port
