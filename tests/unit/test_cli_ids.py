"""``edge-agent ids`` as an integrator and a script see it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli import main
from edge_agent.identify import lockfile

CONFIG = """
gateway: {{id: gw-01}}
identifiers: {{prefix: "88.101.0042", device: "{device}"}}
outbox: {{directory: state}}
publishers:
  - {{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1"]}}
devices:
  - id: press-01
    driver: modbus
    host: 192.0.2.1
    interval: 1s
    points:
      - {{name: temperature, register: 40001, type: float32, unit: degC, identifier: true}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path, "EQ.{device}")


def written(folder: Path, device: str, text: str = CONFIG) -> Path:
    file = folder / "agent.yaml"
    file.write_text(text.format(device=device), encoding="utf-8")
    return file


@dataclass(frozen=True)
class Result:
    exit_code: int | str | None
    stdout: str
    stderr: str


def ran(*arguments: object) -> Result:
    with CliRunner().isolation() as (out, err, _):
        with pytest.raises(SystemExit) as ended:
            main(["ids", *(str(argument) for argument in arguments)])
        sys.stdout.flush()
        sys.stderr.flush()
        return Result(ended.value.code, out.getvalue().decode(), err.getvalue().decode())


def lock_of(config: Path) -> Path:
    return config.parent / "state" / lockfile.FILE_NAME


def test_plan_prints_a_line_for_each_object_and_writes_nothing(config: Path) -> None:
    result = ran("plan", config)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "object\tcode\tstatus\tdrift",
        "device/press-01\t88.101.0042/EQ.press-01\tdraft, not frozen\t",
        "gateway\t88.101.0042/GW.gw-01\tdraft, not frozen\t",
        "point/press-01/temperature\t88.101.0042/EQ.press-01.temperature\tdraft, not frozen\t",
    ]
    assert not lock_of(config).parent.exists()


def test_plan_for_scripts_is_one_json_object(config: Path) -> None:
    plan = json.loads(ran("plan", config, "--json").stdout)
    assert plan["gateway"] == "gw-01"
    assert plan["problems"] == []
    assert plan["objects"][0] == {
        "object": "device/press-01",
        "handle": "88.101.0042/EQ.press-01",
        "status": "draft",
        "frozen_at": None,
        "retired_at": None,
        "message": "",
        "drift": None,
    }


def test_check_is_content_with_a_good_site(config: Path) -> None:
    result = ran("check", config)
    assert (result.exit_code, result.stdout) == (0, "3 codes, nothing wrong, no drift\n")


def test_after_an_export_a_changed_template_is_drift(config: Path) -> None:
    assert ran("export", config, "--csv").exit_code == 0
    written(config.parent, "DEV.{device}")
    result = ran("check", config)
    assert result.exit_code == 1
    assert result.stderr == (
        "device/press-01: has 88.101.0042/EQ.press-01, the configuration says 88.101.0042/DEV.press-01\n"
    )
    assert "\tdraft\t88.101.0042/DEV.press-01\n" in ran("plan", config).stdout


def test_check_lists_codes_that_belong_to_others(config: Path) -> None:
    ran("export", config, "--json")
    text = CONFIG.replace("id: press-01", "id: press-02, identifier: EQ.press-01").replace("- id", "- {{id", 0)
    written(config.parent, "EQ.{device}", text.replace("id: press-02, ", "id: press-02\n    "))
    result = ran("check", config)
    assert result.exit_code == 1
    assert "device/press-01" in result.stderr
    assert "device/press-02" in result.stderr
    assert ran("export", config, "--json").exit_code == 1


def test_an_export_goes_to_a_file_and_comes_back_as_a_reply(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    assert ran("export", config, "--csv", "--output", file).stdout == ""
    file.write_text(file.read_text("utf-8-sig").replace(",draft,", ",registered,"), encoding="utf-8")
    dry = ran("import", config, file, "--dry-run")
    assert dry.stdout.splitlines()[-1] == "would change 3, as known 0"
    result = ran("import", config, file)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "device/press-01\t88.101.0042/EQ.press-01\tdraft -> registered"
    assert ran("import", config, file).stdout == "changed 0, as known 3\n"
    assert {entry.status.value for entry in lockfile.read(lock_of(config)).values()} == {"registered"}


def test_an_import_with_problems_names_file_and_line_and_exits_1(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "reply.csv"
    file.write_text("handle,status,more\n88.101.0042/EQ.press-01,registered,\nx,y,\n")
    result = ran("import", config, file)
    assert result.exit_code == 1
    assert f"{file}:3: " in result.stderr
    assert "more" in result.stderr
    assert "nothing imported" in result.stderr
    assert not lock_of(config).exists()


@pytest.mark.parametrize("arguments", [[], ["--csv", "--json"]])
def test_an_export_has_one_format(config: Path, arguments: list[str]) -> None:
    assert ran("export", config, *arguments).exit_code == 2


@pytest.mark.parametrize(
    "command", [["plan"], ["check"], ["export", "--csv"], ["import", "/nonexistent/file"]], ids=lambda c: c[0]
)
def test_bad_configurations_exit_78_and_missing_sections_1(config: Path, command: list[str]) -> None:
    name, *rest = command
    bad = written(config.parent, "EQ {device}")
    result = ran(name, bad, *rest)
    assert result.exit_code == 78
    assert f"{bad}:3:" in result.stderr
    text = "\n".join(line for line in CONFIG.splitlines() if "identifiers" not in line)
    result = ran(name, written(config.parent, "", text.replace(", identifier: true", "")), *rest)
    assert result.exit_code == 1
    assert "no identifiers: section" in result.stderr


def test_files_that_cannot_be_used_are_told_in_one_line(config: Path, tmp_path: Path) -> None:
    missing = ran("import", config, tmp_path / "missing.csv")
    assert (missing.exit_code, "missing.csv" in missing.stderr) == (1, True)
    unwritable = ran("export", config, "--csv", "--output", tmp_path / "no" / "file")
    assert (unwritable.exit_code, "no/file" in unwritable.stderr) == (1, True)
    lock_of(config).write_text("{}")
    for command in (("plan", config), ("check", config), ("import", config, config)):
        result = ran(*command)
        assert result.exit_code == 1
        assert "damaged" in result.stderr


def test_a_placeholder_is_warned_about(config: Path) -> None:
    text = CONFIG.replace('"88.101.0042"', '"88.000.1", allow_placeholder: true')
    assert "placeholder" in ran("check", written(config.parent, "EQ.{device}", text)).stderr


@pytest.mark.slow
def test_importing_the_commands_loads_nothing_heavy() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, edge_agent.cli.ids; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.split()
    assert not {"pydantic", "yaml", "edge_agent.config", "edge_agent.identify.assign", "pymodbus"} & set(loaded)


def test_on_a_terminal_the_codes_stand_in_the_same_kind_of_table_as_everything_else(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, ...]] = []
    monkeypatch.setattr("edge_agent.cli.table.show", lambda header, rows: shown.extend([header, *rows]))
    assert ran("plan", config).exit_code == 0
    assert shown[0] == ("object", "code", "status", "drift")
    assert any("88.101.0042/" in code for _, code, *_ in shown[1:])
