"""The unit file, judged by systemd itself."""

import subprocess
from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd" / "edge-agent.service"
EXPOSURE_MAX = 20  # tenths; a unit that hides nothing has 96


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )


def test_systemd_finds_nothing_to_say_about_it(tmp_path: Path) -> None:
    # The program is not installed here; all else is as shipped. Unknown keys are only printed: no output wanted.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/edge-agent/bin/edge-agent", "/bin/true"), "utf-8")
    result = analyze("verify", "--man=no", str(unit))
    assert (result.returncode, result.stdout) == (0, "")


def test_its_exposure_is_low() -> None:
    result = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(UNIT))
    assert result.returncode == 0, result.stdout
    assert "Overall exposure level" in result.stdout


def test_a_bad_configuration_is_not_tried_again_and_a_box_in_a_cabinet_is_never_given_up() -> None:
    lines = UNIT.read_text("utf-8").splitlines()
    for line in ("Type=notify", "WatchdogSec=30", "Restart=always", "RestartPreventExitStatus=78"):
        assert line in lines
    assert lines.index("StartLimitIntervalSec=0") < lines.index("[Service]")
