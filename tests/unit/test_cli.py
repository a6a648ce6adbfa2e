import errno
import json
import re
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from edge_agent import __version__
from edge_agent.cli import commands, devices, main, reference, run, status, table
from edge_agent.cli.exits import MEANINGS, ExitCode, exit_code
from edge_agent.config import Problem
from edge_agent.errors import (
    ConfigError,
    DriverLoadError,
    EdgeAgentError,
    OutboxFullError,
    OutboxIOError,
)

ROOT = Path(__file__).parents[2]
YAML = """\
gateway: {id: gw-01}
outbox: {directory: state}
publishers: [{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1"]}]
devices:
  - id: press-01
    driver: modbus
    host: 127.0.0.1
    points:
      - {name: temperature, register: 40001, type: float32}
      - {name: pressure, register: 40003, type: float32, interval: 10s}
      - {name: door, coil: 17, class: event}
"""
Main = Callable[..., tuple[int, str, str]]


@pytest.fixture
def edge_agent(capsys: pytest.CaptureFixture[str]) -> Main:
    """Run a command line in this process; give exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        return int(ended.value.code or 0), output, errors

    return call


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(YAML)
    return path


@pytest.fixture
def bad_config(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(YAML.replace("type: float32}", "type: flaot32}").replace("coil: 17", "coil: seventeen"))
    return path


def test_version(edge_agent: Main) -> None:
    assert edge_agent("version") == (0, f"edge-agent {__version__}\n", "")
    code, output, _ = edge_agent("version", "--json")
    assert (code, json.loads(output)["version"]) == (0, __version__)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["run"], ["check", "--nonsense", "x.yaml"], ["outbox", "show"]]
)
def test_wrong_usage_is_2(edge_agent: Main, arguments: list[str]) -> None:
    code, output, errors = edge_agent(*arguments)
    assert (code, output) == (2, "")
    assert "Usage: edge-agent" in errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError([Problem("a.yaml", 1, 2, "gateway", "is missing")]), 78),
        (DriverLoadError("no driver", "registry"), 78),
        (OutboxIOError("fsync failed"), 74),
        (OutboxFullError("no space"), 1),
        (EdgeAgentError("port in use"), 1),
    ],
)
def test_each_error_has_its_exit_code(error: EdgeAgentError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    "command",
    [
        ["outbox", "status"],
        ["outbox", "export"],
        ["outbox", "dead-letter", "list"],
        ["audit", "show"],
        ["audit", "verify"],
        ["opcua", "trust", "list"],
        ["drivers", "--drivers-path"],
    ],
)
def test_a_path_that_cannot_be_looked_at_is_told_in_one_line(edge_agent: Main, command: list[str]) -> None:
    name = "x" * 300
    code, output, errors = edge_agent(*command, name)
    assert (code, output, errors) == (1, "", f"edge-agent: {name}: File name too long\n")


def test_who_may_not_look_is_told_what_to_do(edge_agent: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_dir(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", is_dir)
    told = "edge-agent: /state: Permission denied; use sudo, or the account of the agent\n"
    assert edge_agent("outbox", "status", "/state") == (1, "", told)


def test_an_error_of_the_system_that_no_file_causes_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_dir", mock.Mock(side_effect=OSError(errno.ENOTCONN, "not connected")))
    with pytest.raises(OSError, match="not connected"):
        main(["outbox", "status", "/state"])


def test_every_exit_code_is_explained() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_check_says_every_problem_at_its_place_and_exits_78(edge_agent: Main, bad_config: Path) -> None:
    code, output, errors = edge_agent("check", bad_config)
    lines = errors.splitlines()
    assert (code, output) == (78, "")
    assert len(lines) == 2
    for line, number in zip(lines, (9, 11), strict=True):
        assert re.match(rf"{re.escape(str(bad_config))}:{number}:\d+: devices\[0\]\.points\[\d\]\.\w+: .", line)


def test_check_gives_problems_as_json(edge_agent: Main, bad_config: Path) -> None:
    code, output, errors = edge_agent("check", bad_config, "--json")
    body = json.loads(output)
    assert (code, errors, body["ok"]) == (78, "", False)
    assert [(problem["line"], problem["path"]) for problem in body["problems"]] == [
        (9, "devices[0].points[0].type"),
        (11, "devices[0].points[2].coil"),
    ]


def test_check_of_a_missing_file_is_78_and_says_so(edge_agent: Main, tmp_path: Path) -> None:
    code, _, errors = edge_agent("check", tmp_path / "none.yaml")
    assert code == 78
    assert "none.yaml" in errors
    assert "Traceback" not in errors


def test_check_sums_a_good_configuration_up_and_writes_nothing(
    edge_agent: Main, config: Path, tmp_path: Path
) -> None:
    code, output, errors = edge_agent("check", config)
    assert (code, errors) == (0, "")
    assert "press-01\tmodbus\t3\t3\t2.1\t\n" in output
    assert "gateway gw-01: 1 device, 3 points" in output
    assert "identifier codes: none" in output
    assert [path.name for path in tmp_path.iterdir()] == ["agent.yaml"]


def test_check_plan_prints_each_exchange_of_each_interval(edge_agent: Main, config: Path) -> None:
    code, output, _ = edge_agent("check", config, "--plan")
    plan = output.partition("nothing wrong\n")[2]
    assert code == 0
    assert re.fullmatch(
        r"\npress-01 every 1s: 2 requests\n"
        r"  unit 1 FC1 .+: 1 point; 12 \+ 10 bytes, 1 ms\n    door\n"
        r"  unit 1 FC3 .+: 1 point; 12 \+ 1[13] bytes, 1 ms\n    temperature\n"
        r"\npress-01 every 10s: 1 request\n"
        r"  unit 1 FC3 .+: 1 point; 12 \+ 1[13] bytes, 1 ms\n    pressure\n"
        r"\nline\tdevices\trequests\tall once\tbusy\tlate ones every\n"
        r"tcp://.+:502\t1\t3\t3\.01 ms\t0\.21%\t\n",
        plan,
    )


def test_check_as_json_names_the_points_of_each_exchange(edge_agent: Main, config: Path) -> None:
    code, output, _ = edge_agent("check", config, "--json")
    (device,) = json.loads(output)["devices"]
    assert code == 0
    assert [
        (poll["interval_s"], [request["points"] for request in poll["requests"]]) for poll in device["plan"]
    ] == [(1.0, [["door"], ["temperature"]]), (10.0, [["pressure"]])]
    assert device["plan"][0]["requests"][0].keys() == {
        "request", "points", "line", "sent_bytes", "received_bytes", "duration_s"
    }  # fmt: skip
    (line,) = json.loads(output)["lines"]
    assert (line["devices"], line["requests"], line["late"], line["advice"]) == (["press-01"], 3, [], None)


def test_check_warns_of_intervals_that_a_line_cannot_meet(edge_agent: Main, config: Path) -> None:
    config.write_text(config.read_text().replace("interval: 1s", "interval: 10ms"))
    with config.open("a") as file:
        for number in range(2, 32):
            file.write(
                f"  - {{id: press-{number:02}, driver: modbus, host: 192.0.2.1, unit: {number}, interval: 10ms, "
                "points: [{name: p, coil: 1}]}\n"
            )
    code, output, errors = edge_agent("check", config)
    assert code == 0
    assert "nothing wrong" in output
    assert re.search(
        r"warning: line tcp://.+: 3[01] devices every 10ms need .+; raise the interval to .+ms", errors
    )


def test_check_counts_identifier_codes(edge_agent: Main, config: Path) -> None:
    with config.open("a") as file:
        file.write('identifiers: {prefix: "88.101.0042"}\n')
    code, output, _ = edge_agent("check", config)
    assert code == 0
    assert "identifier codes: 2, the gateway's is 88.101.0042/GW.gw-01" in output
    assert "88.101.0042/EQ.press-01\n" in output


def test_run_refuses_a_bad_configuration_with_78(edge_agent: Main, bad_config: Path) -> None:
    code, output, errors = edge_agent("run", bad_config)
    assert (code, output) == (78, "")
    assert errors.count("bad.yaml:") == 2


def test_drivers_are_listed_without_loading_one(edge_agent: Main, tmp_path: Path) -> None:
    folder = tmp_path / "edge_agent_broken"
    folder.mkdir(mode=0o755)
    (folder / "__init__.py").write_text("raise RuntimeError('loaded')")
    for path in (tmp_path, folder, folder / "__init__.py"):
        path.chmod(0o755)
    code, output, _ = edge_agent("drivers", "--drivers-path", tmp_path)
    assert code == 0
    assert [line.split("\t")[0] for line in output.splitlines()] == ["protocol", "broken", "modbus", "opcua"]
    code, _, errors = edge_agent("drivers", "broken", "--drivers-path", tmp_path)
    assert code == 78
    assert "RuntimeError: loaded" in errors


def test_a_driver_is_shown_with_its_keys(edge_agent: Main) -> None:
    code, output, _ = edge_agent("drivers", "modbus")
    assert code == 0
    assert re.search(r"^stability  (experimental|beta|stable)$", output, re.MULTILINE)
    assert "\nmax_coils\t2000\tMost coils or discrete inputs in one request.\n" in output
    assert "\npoints:\n" in output
    code, output, _ = edge_agent("drivers", "modbus", "--json")
    assert json.loads(output)["config"]["properties"]["interval"]["default"] == "1s"


def test_an_unknown_driver_is_told_with_those_that_are_known(edge_agent: Main) -> None:
    assert edge_agent("drivers", "profinet") == (
        1,
        "",
        "edge-agent: no driver 'profinet'; known are modbus, opcua\n",
    )
    assert edge_agent("drivers", "modbsu") == (1, "", "edge-agent: no driver 'modbsu'; did you mean 'modbus'?\n")


def test_schema_is_what_editors_get(edge_agent: Main) -> None:
    code, output, _ = edge_agent("schema")
    assert code == 0
    assert output == (ROOT / "configs/schema.json").read_text("utf-8")


def test_status_without_an_agent_says_what_to_do(edge_agent: Main, tmp_path: Path, config: Path) -> None:
    code, output, errors = edge_agent("status", "--socket", tmp_path / "none.sock")
    assert (code, output) == (1, "")
    assert re.search(r"no agent answers at .*none\.sock \(No such file or directory\); is it running\?", errors)
    with config.open("a") as file:
        file.write("ops: {control_socket: mine.sock}\n")
    assert f"at {tmp_path}/mine.sock" in edge_agent("status", config)[2]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["status"], "no agent answers at"),
        (["outbox", "status"], "there is no outbox at"),
        (["outbox", "show"], "there is no outbox at"),
        (["ids", "check"], "no identifiers: section"),
        (["ids", "plan"], "no identifiers: section"),
        (["ids", "export", "--csv"], "no identifiers: section"),
    ],
)
def test_commands_beside_the_agent_do_without_its_secrets(
    edge_agent: Main, config: Path, command: list[str], said: str
) -> None:
    with_secret = YAML.replace('mqtt://127.0.0.1"]', 'mqtts://h"], username: u, password: !env NOT_SET_HERE')
    config.write_text(with_secret + "ops: {control_socket: mine.sock}\n")
    code, _, errors = edge_agent(*command, config)
    assert (code, said in errors) == (1, True)
    assert edge_agent("check", config)[0] == edge_agent("run", config)[0] == 78


def test_status_tells_why_a_device_or_broker_is_not_there_in_a_line_of_its_own(
    edge_agent: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "no connection within 5 s; check address, cable and power, " * 3
    devices = [
        {"id": "press-01", "driver": "modbus", "phase": "online", "reason": "", "since_ns": 0},
        {"id": "dead-02", "driver": "modbus", "phase": "offline", "reason": f"{long}\n\x1b[2J", "since_ns": 0},
    ]
    publishers = [
        {"id": name, "server": "mqtt://h", "connected": name == "near", "last_error": f"of {name}"}
        | dict.fromkeys(("in_flight", "acknowledged", "refused"), 0)
        | {"replay": {"pending_readings": 0, "readings_per_s": 0.0, "eta_s": None}}
        for name in ("near", "far")
    ]
    body = {"now_ns": 1, "gateway": "gw", "version": "1", "code": None, "started_ns": 0, "outbox": None}
    body |= {
        "config": {"file": "a.yaml"},
        "insecure": [],
        "certificates": [],
        "devices": devices,
        "publishers": publishers,
    }
    monkeypatch.setattr(status, "get_status", lambda _: body)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    lines = [line.rstrip() for line in edge_agent("status")[1].splitlines()]
    assert f"dead-02: {long}\N{REPLACEMENT CHARACTER}[2J" in " ".join(lines)
    assert max(map(len, lines)) <= 80
    assert any("acknowledged" in line for line in lines)
    assert [line for line in lines if ": " in line][1:] == ["far: of far", "outbox: not open yet"]
    assert not [line for line in lines if line.startswith(("press-01:", "near:"))]


def test_demo_is_given_its_switches_and_ends_with_its_code(
    edge_agent: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, ...]] = []

    def run_demo(*arguments: object) -> int:
        seen.append(arguments)
        return 1

    monkeypatch.setattr("edge_agent.demo.run_demo", run_demo)
    assert edge_agent("demo", "--seconds", "3", "--json", "--broker", "mqtt://h:1883")[0] == 1
    assert seen == [(3.0, True, "mqtt://h:1883")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_complete_commands(shell: str) -> None:
    variables = {
        "_EDGE_AGENT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "edge-agent ver",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "edge-agent ver",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    result = CliRunner().invoke(commands.app, [], env=variables, prog_name="edge-agent")
    assert "version" in result.output
    assert "status" not in result.output


def test_a_table_in_a_pipe_is_one_line_per_row_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    table.show(("a", "b"), [("x\ty\nz", None), (1, "一号")])
    assert capsys.readouterr().out == "a\tb\nx y z\t\n1\t一号\n"


def test_a_table_on_a_terminal_passes_no_escape_codes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    table.show(("name",), [("[red]evil\x1b[2J",)])
    output = capsys.readouterr().out
    assert "[red]evil\N{REPLACEMENT CHARACTER}[2J" in output


def test_a_table_on_a_narrow_terminal_cuts_nothing_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    table.show(("code", "n"), [("88.101.0042/EQ.press-01", 1)])
    assert "".join(line.split()[0] for line in capsys.readouterr().out.splitlines()[3:] if line.strip()) == (
        "88.101.0042/EQ.press-01"
    )


@pytest.mark.parametrize(("server_time_ns", "is_shown"), [(None, False), (1_800_000_000_000_000_000, True)])
def test_a_terminal_shows_the_time_of_the_server_of_a_device_only_where_there_is_one(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    server_time_ns: int | None,
    *,
    is_shown: bool,
) -> None:
    point = {"name": "feed", "value": 1.5, "unit": "mm", "quality": "GOOD", "time_ns": 1, "server_time_ns": None}
    points = [point, point | {"server_time_ns": server_time_ns}]
    known = {"id": "cnc", "phase": "online", "now_ns": 2, "points": points}
    monkeypatch.setattr(
        devices, "act", lambda *_: known | {"plan": [], "refused": [], "silent": [], "learned": {}}
    )
    devices.show_device(None, Path("control.sock"), "cnc", as_json=False)
    header = capsys.readouterr().out.splitlines()[1]
    assert header.endswith("\tserver time"), "a pipe has the same columns always"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "250")
    devices.show_device(None, Path("control.sock"), "cnc", as_json=False)
    shown = capsys.readouterr().out
    assert "quality" in shown
    assert ("server time" in shown) is is_shown


def test_the_exit_code_of_several_errors_is_the_one_that_says_most(caplog: pytest.LogCaptureFixture) -> None:
    group = ExceptionGroup("", [EdgeAgentError("port"), ExceptionGroup("", [OutboxIOError("fsync failed")])])
    assert run._tell(list(run._leaves(group))) == ExitCode.DISK_FAILED
    assert [record.__dict__["reason"] for record in caplog.records] == ["port", "fsync failed"]
    assert not any(record.exc_info for record in caplog.records)


def test_a_bug_that_ends_the_agent_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert run._tell([ZeroDivisionError("bug")]) == ExitCode.FAILED
    (record,) = caplog.records
    assert record.exc_info


def test_the_reference_is_what_the_commands_say() -> None:
    assert (ROOT / "docs/reference/cli.md").read_text("utf-8") == reference.markdown()
