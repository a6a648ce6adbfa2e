"""Codes out to a node operator and back; codes from a replaced box to its successor."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.errors import IdentifierError
from edge_agent.identify import lockfile
from edge_agent.identify.assign import Assignments
from edge_agent.identify.exchange import Outcome, export_csv, export_json, import_file
from edge_agent.identify.lock import Lock, Status
from edge_agent.identify.options import DeviceIdentity, IdentifierOptions, PointIdentity
from edge_agent.model import DeviceId, GatewayId, PointName
from edge_agent.testing.fakes import START_NS, FakeClock

PREFIX = "88.101.0042"
PRESS = DeviceIdentity(
    DeviceId("press-01"),
    labels={"line": '一号, "A"'},
    points=(PointIdentity(PointName("temperature"), unit="℃", semantic_id="0173-1#02-AAO677#002"),),
    name="冲压机",
)
LATHE = DeviceIdentity(DeviceId("lathe-02"))
SITE = IdentifierOptions(prefix=PREFIX, gateway=GatewayId("gw-01"), devices=(PRESS, LATHE), gateway_name="网关")
ONE_REPLY = f"handle,status,message\r\n{PREFIX}/EQ.press-01,registered,ok\r\n".encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "box" / lockfile.FILE_NAME


def codes(path: Path, options: IdentifierOptions = SITE) -> Assignments:
    return Assignments.open(options, path, clock=FakeClock())


def frozen(path: Path, options: IdentifierOptions = SITE) -> Lock:
    opened = codes(path, options)
    asyncio.run(opened.freeze())
    return opened.lock


def imported(
    path: Path, content: bytes | str, options: IdentifierOptions = SITE, *, dry_run: bool = False
) -> Outcome:
    raw = content.encode() if isinstance(content, str) else content
    return import_file(options, path, raw, clock=FakeClock(START_NS + 10**12), dry_run=dry_run)


def told(outcome: Outcome) -> list[tuple[int, str]]:
    return [(problem.line, problem.message) for problem in outcome.problems]


def test_the_csv_opens_in_excel_and_says_what_a_node_operator_needs(path: Path) -> None:
    content = asyncio.run(export_csv(codes(path)))
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["object"] for row in rows] == [
        "device/lathe-02",
        "device/press-01",
        "gateway",
        "point/press-01/temperature",
    ]
    press, gateway, point = rows[1:]
    assert (press["kind"], press["name"], press["handle"]) == ("device", "冲压机", f"{PREFIX}/EQ.press-01")
    assert (press["status"], press["gateway"]) == ("draft", "gw-01")
    assert json.loads(press["labels"]) == PRESS.labels
    assert gateway["name"] == "网关"
    assert (point["unit"], point["semantic_id"]) == ("℃", "0173-1#02-AAO677#002")


@pytest.mark.parametrize("export", [export_csv, export_json])
def test_an_export_freezes_what_it_shows(path: Path, export: object) -> None:
    asyncio.run(export(codes(path)))  # type: ignore[operator]
    renamed = codes(path, replace(SITE, device_template="DEV.{device}"))
    assert renamed.device_code(PRESS.id) == f"{PREFIX}/EQ.press-01"


def test_json_has_an_object_on_each_line(path: Path) -> None:
    content = asyncio.run(export_json(codes(path))).decode()
    data = json.loads(content)
    assert data["schema"] == "edge.identifiers/1"
    assert [json.loads(line.rstrip(",")) for line in content.splitlines()[1:-1]] == data["objects"]
    assert data["objects"][1]["labels"] == PRESS.labels


@pytest.mark.parametrize("export", [export_csv, export_json])
def test_a_replaced_box_hands_its_codes_to_its_successor(path: Path, tmp_path: Path, export: object) -> None:
    frozen(path)
    assert imported(path, ONE_REPLY).problems == ()
    without_lathe = codes(path, replace(SITE, devices=(PRESS,)))
    content = asyncio.run(export(without_lathe))  # type: ignore[operator]
    successor = tmp_path / "new" / lockfile.FILE_NAME
    templates_changed = replace(SITE, devices=(PRESS,), device_template="X.{device}", gateway_template="X")
    assert imported(successor, content, templates_changed).problems == ()
    assert lockfile.read(successor) == lockfile.read(path)
    assert lockfile.read(successor)["device/lathe-02"].retired_at is not None


def test_importing_an_own_export_changes_nothing_even_if_it_is_older_than_the_reply(path: Path) -> None:
    content = asyncio.run(export_csv(codes(path)))
    imported(path, ONE_REPLY)
    before = path.read_bytes()
    outcome = imported(path, content)
    assert (outcome.changes, outcome.unchanged, outcome.problems) == ((), 4, ())
    assert path.read_bytes() == before


def test_a_reply_with_partial_failure_is_the_normal_case(path: Path) -> None:
    frozen(path)
    outcome = imported(
        path,
        "handle,status,message\n"
        f"{PREFIX}/EQ.press-01,registered,\n"
        f"{PREFIX}/EQ.lathe-02,conflict,标识已存在\n"
        f"{PREFIX}/GW.gw-01,rejected,\n",
    )
    lock = lockfile.read(path)
    assert [(change.key, change.before, change.after) for change in outcome.changes] == [
        ("device/press-01", Status.DRAFT, Status.REGISTERED),
        ("device/lathe-02", Status.DRAFT, Status.CONFLICT),
        ("gateway", Status.DRAFT, Status.REJECTED),
    ]
    assert lock["device/press-01"].registered_at is not None
    assert lock["device/lathe-02"].note == "标识已存在"
    assert lock["device/lathe-02"].registered_at is None
    assert lock["point/press-01/temperature"].status is Status.DRAFT


def test_a_later_reply_replaces_an_earlier_one_with_its_message_and_date(path: Path) -> None:
    frozen(path)
    imported(path, ONE_REPLY)
    imported(path, f"handle,status\n{PREFIX}/EQ.press-01,rejected\n")
    entry = lockfile.read(path)["device/press-01"]
    assert (entry.status, entry.note, entry.registered_at) == (Status.REJECTED, "", None)


def test_a_reply_about_a_code_that_was_never_exported_freezes_it(path: Path) -> None:
    codes(path)
    assert imported(path, ONE_REPLY).problems == ()
    entry = lockfile.read(path)["device/press-01"]
    assert entry.frozen_at is not None
    assert entry.status is Status.REGISTERED
    assert lockfile.read(path)["device/lathe-02"].frozen_at is None


def test_a_reply_may_be_json(path: Path) -> None:
    frozen(path)
    reply = [{"handle": f"{PREFIX}/EQ.press-01", "status": "pending", "message": "queued"}]
    assert imported(path, json.dumps(reply)).problems == ()
    assert lockfile.read(path)["device/press-01"].status is Status.PENDING


def test_every_problem_is_told_with_its_line_and_nothing_is_imported(path: Path) -> None:
    frozen(path)
    before = path.read_bytes()
    outcome = imported(
        path,
        "handle,status,message\n"
        f"{PREFIX}/EQ.press-01,registered,\n"
        f"{PREFIX}/EQ.lathe-02,done,\n"
        "\n"
        f'{PREFIX}/GW.gw-01,rejected,"two\nlines"\n'
        "EQ.lathe-02,registered,\n"
        f"{PREFIX}/EQ.nobody,registered,\n"
        f"{PREFIX}/eq.lathe-02,registered,\n"
        f"{PREFIX}/EQ.press-01,rejected,\n"
        f"{PREFIX}/EQ.lathe-02\n",
    )
    assert [line for line, _ in told(outcome)] == [3, 7, 11, 10, 8, 9]
    for part, (_, message) in zip(
        (
            "'done'",
            "'EQ.lathe-02': write prefix/suffix",
            "1 cells",
            "line 2 already",
            "not known here",
            "case counts",
        ),
        told(outcome),
        strict=True,
    ):
        assert part in message
    assert path.read_bytes() == before


def test_problems_in_json_have_the_line_of_their_object(path: Path) -> None:
    frozen(path)
    reply = (
        '{"note": "\\"objects\\": [",\n "objects": [\n'
        f'  {{"handle": "{PREFIX}/EQ.press-01",\n   "status": "registered"}},\n'
        '  {"handle": "x", "status": "registered"},\n'
        '  7,\n  {"handle": 7}\n]}'
    )
    outcome = imported(path, reply)
    assert sorted({line for line, _ in told(outcome)}) == [5, 6, 7]


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        (b"", 1, "no column handle and status"),
        (b"code;status\n", 1, "no column handle"),
        (b"handle,status,status\n", 1, "twice"),
        (b"handle,status\n", 0, "says nothing"),
        ("handle,status\n标识".encode("gbk"), 2, "UTF-8"),
        (b'handle,status\n"x', 2, "not CSV"),
        (b'[{"handle": 1,\n}]', 2, "not JSON"),
        (b'{"objects": 5}', 0, "list of objects"),
        (b"[" * 100_000, 0, "list of objects"),
        (b'[{"handle": "a", "handle": "b"}]', 0, "twice"),
        (b'{"objects": [1], "objects": [1, 2]}', 0, "twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_reason(
    path: Path, content: bytes, line: int, part: str
) -> None:
    frozen(path)
    problems = told(imported(path, content))
    assert problems[0][0] == line
    assert part in problems[0][1]


def test_a_dry_run_says_the_same_and_writes_nothing(path: Path) -> None:
    frozen(path)
    before = path.read_bytes()
    dry = imported(path, ONE_REPLY, dry_run=True)
    assert path.read_bytes() == before
    assert dry == imported(path, ONE_REPLY)
    assert path.read_bytes() != before


def test_a_frozen_code_is_never_replaced_and_both_codes_are_named(path: Path) -> None:
    frozen(path)
    outcome = imported(path, f"object,handle,status\ndevice/press-01,{PREFIX}/EQ.other,draft\n")
    assert f"{PREFIX}/EQ.press-01" in told(outcome)[0][1]
    assert f"{PREFIX}/EQ.other" in told(outcome)[0][1]


def test_a_code_is_never_given_to_a_second_object_and_both_are_named(path: Path) -> None:
    frozen(path)
    outcome = imported(path, f"object,handle,status\ndevice/new,{PREFIX}/eq.PRESS-01,draft\n")
    assert "device/press-01" in told(outcome)[0][1]
    assert "device/new" in told(outcome)[0][1]


def test_two_lines_of_one_file_cannot_share_a_code(path: Path) -> None:
    outcome = imported(path, f"object,handle,status\ndevice/a,{PREFIX}/EQ.x,draft\ndevice/b,{PREFIX}/eq.X,draft\n")
    assert [line for line, _ in told(outcome)] == [3]


def test_an_import_that_takes_a_planned_code_away_is_refused(path: Path) -> None:
    codes(path)
    outcome = imported(path, f"object,handle,status\ndevice/old,{PREFIX}/EQ.press-01,registered\n")
    assert "device/press-01" in told(outcome)[0][1]
    assert "device/old" in told(outcome)[0][1]
    assert "device/old" not in lockfile.read(path)


@pytest.mark.parametrize(
    ("row", "part"),
    [
        (f"robot/r1,{PREFIX}/EQ.r1,draft,", "device/<id>"),
        (f"device/a/b,{PREFIX}/EQ.r1,draft,", "device/<id>"),
        (f"device/-a,{PREFIX}/EQ.r1,draft,", "begins with a letter"),
        ("device/a,88.999.1/EQ.r1,draft,", "are not yours to give"),
        (f"device/a,{PREFIX}/EQ.r1,draft,gw-02", "gateway gw-02"),
        ("device/a,88.000.1/EQ.r1,registered,", "placeholder"),
    ],
)
def test_a_line_about_a_strange_object_is_refused(path: Path, row: str, part: str) -> None:
    assert part in told(imported(path, f"object,handle,status,gateway\n{row}\n"))[0][1]


def test_columns_without_a_meaning_are_named_and_times_are_checked(path: Path) -> None:
    frozen(path)
    outcome = imported(path, f"handle,status,备注,registered_at\n{PREFIX}/GW.gw-01,registered,x,yesterday\n")
    assert outcome.ignored == ("备注",)
    assert "yesterday" in told(outcome)[0][1]


def test_a_message_that_no_file_can_hold_is_refused(path: Path) -> None:
    frozen(path)
    reply = f'[{{"handle": "{PREFIX}/GW.gw-01", "status": "rejected", "message": "\\ud800"}}]'
    assert "message" in told(imported(path, reply))[0][1]


def test_a_damaged_lock_file_stops_an_import(path: Path) -> None:
    frozen(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(IdentifierError, match="damaged"):
        imported(path, ONE_REPLY)


IMPORT = """
import sys
from pathlib import Path
from edge_agent.clock import SystemClock
from edge_agent.identify.exchange import import_file
from edge_agent.identify.options import DeviceIdentity, IdentifierOptions

options = IdentifierOptions("88.101.0042", "gw-01", (DeviceIdentity("press-01"),))
outcome = import_file(options, Path(sys.argv[1]), sys.stdin.buffer.read(), clock=SystemClock(), dry_run=False)
sys.exit(bool(outcome.problems))
"""


@pytest.mark.slow
def test_a_reply_imported_by_another_process_reaches_the_running_agent(path: Path) -> None:
    options = replace(SITE, devices=(replace(PRESS, points=(), labels={}), LATHE))
    running = codes(path, options)
    asyncio.run(running.freeze())
    subprocess.run(
        [sys.executable, "-c", IMPORT, str(path)], input=ONE_REPLY, check=True, timeout=60, env={**os.environ}
    )
    asyncio.run(running.freeze())
    assert running.lock["device/press-01"].status is Status.REGISTERED
    assert running.lock["device/lathe-02"].retired_at is None
    assert lockfile.read(path) == running.lock
