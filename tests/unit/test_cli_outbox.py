"""What `edge-agent outbox` shows of losses, and what it exports."""

import asyncio
import contextlib
import csv
import io
import json
import os
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.cli.wording import local_time
from edge_agent.model import Column, DataType, DeviceId, Point, PointName, PointTable, ReadingBatch
from edge_agent.outbox import inspect
from edge_agent.outbox.store import FILE_NAME, Outbox
from tests.model.outbox_kit import CLOUD, PLANT, T0_NS, batch, drain, fill, opened, table

PRESS = table("press-01", "a", "b")


def say(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["outbox", *map(str, arguments)])
    assert ended.value.code in {0, None}
    return capsys.readouterr().out


async def on_thread(outbox: Outbox, sql: str) -> list[tuple[int, ...]]:
    """Run a statement on the connection of the outbox."""
    file = outbox._keeper.file
    assert file is not None

    def run() -> list[tuple[int, ...]]:
        return file._sql.execute(sql).fetchall()

    return await asyncio.get_running_loop().run_in_executor(outbox._thread, run)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Rows 1 to 4 of two devices; row 2 is damaged, which both publishers have noticed."""

    async def prepare() -> None:
        async with opened(tmp_path, CLOUD, PLANT) as outbox:
            await fill(outbox, PRESS, 1, 2)
            meter = PointTable(DeviceId("meter"), (Point(PointName("name"), unit="m²"), Point(PointName("raw"))))
            columns = (
                Column(DataType.STRING, array("H", [0]), ["a,b\n开"]),
                Column(DataType.BYTES, array("H", [1]), [b"\x00\xff"], lags_ns=array("q", [5])),
            )
            await outbox.append(meter, ReadingBatch(meter.device, T0_NS, columns))
            await outbox.flush()
            await fill(outbox, PRESS, 4)
            spoil = "UPDATE row SET crc = 0 WHERE id = 2"
            await on_thread(outbox, spoil)
            await drain(outbox.begin(CLOUD), confirm=False)
            await outbox.flush()

    asyncio.run(prepare())
    return tmp_path


def test_losses_say_from_when_to_when_how_much_for_whom_and_why(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = json.loads(say(capsys, "losses", state, "--json"))
    assert (entry["device"], entry["publisher"], entry["reason"]) == ("press-01", "*", "damaged")
    assert (entry["rows"], entry["readings"], entry["row_first"], entry["row_last"]) == (1, 1, 2, 2)
    assert entry["t_first_ns"] == entry["t_last_ns"] == T0_NS + 2
    header, line = say(capsys, "losses", state).splitlines()
    assert header.split("\t")[2] == "publisher"
    assert line.split("\t")[2] == "all"
    assert line.split("\t")[-3:] == ["2 to 2", "damaged", "any"]
    assert json.loads(say(capsys, "losses", state, "--json", "--device", "meter")) == []


def test_days_tell_how_complete_each_device_is(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = json.loads(say(capsys, "losses", state, "--days", "--json"))
    assert days == [
        {"day": "2026-09-21", "device": "meter", "committed": 2, "lost": 0, "complete": 1.0},
        {"day": "2026-09-21", "device": "press-01", "committed": 3, "lost": 1, "complete": pytest.approx(2 / 3)},
    ]
    lines = say(capsys, "losses", state, "--days", "--device", "press-01").splitlines()
    assert lines[1].split("\t") == ["2026-09-21", "press-01", "3", "1", "66.666 %"]


def test_status_shows_accounts_that_add_up(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloud, plant = json.loads(say(capsys, "status", state, "--json"))["publishers"]
    for publisher in (cloud, plant):
        assert publisher["committed_readings"] == 5
        assert (publisher["confirmed_readings"], publisher["dropped_readings"]) == (0, 1)
        assert publisher["pending_readings"] == 4
    lines = [line.split("\t") for line in say(capsys, "status", state).splitlines()]
    assert ["cloud", "4", "5", "0", "1", "4", "yes"] in lines
    assert ["publisher", "rows to send", "committed", "confirmed", "dropped", "pending", "configured"] in lines


@pytest.mark.parametrize("arguments", [["show"], ["show", "--json"], ["export"]])
def test_a_device_that_has_no_row_is_an_error_that_names_those_that_have(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["outbox", *arguments, str(state), "--device", "nope"])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "no row of nope in the outbox; there are rows of meter, press-01" in said.err
    assert said.out == ""


def test_show_tells_of_gap_records_and_of_damage(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = say(capsys, "show", state, "--limit", "1").splitlines()[-1].split("\t")
    assert (last[2], last[3], last[7]) == ("press-01", "event", "gap record: 1 reading missing (damaged)")


@pytest.mark.parametrize(("device", "is_shown"), [("press-01", False), ("meter", True)])
def test_a_terminal_shows_the_time_of_the_server_only_where_there_is_one(
    state: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    *,
    is_shown: bool,
) -> None:
    header, *_ = say(capsys, "show", state, "--device", device).splitlines()
    assert header.endswith("\tserver time"), "a pipe has the same columns always"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "250")
    shown = say(capsys, "show", state, "--device", device)
    assert "quality" in shown
    assert ("server time" in shown) is is_shown


def test_show_has_the_time_of_the_server_where_it_is_another(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *lines = (line.split("\t") for line in say(capsys, "show", state, "--device", "meter").splitlines())
    assert header[-1] == "server time"
    assert [(line[4], line[-1] == line[1], line[-1]) for line in lines] == [
        ("name", False, ""),
        ("raw", True, local_time(T0_NS + 5)),
    ]


def test_csv_holds_every_reading_with_its_name_unit_and_time(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *lines = csv.reader(io.StringIO(say(capsys, "export", state)))
    assert header[1:] == ["row", "device", "class", "point", "time", "value", "unit", "quality", "server_time"]
    assert [line[1:] for line in lines] == [
        ["1", "press-01", "trend", "a", "2026-09-21T14:13:20.000000001Z", "1", "", "GOOD", ""],
        ["3", "meter", "trend", "name", "2026-09-21T14:13:20.000000000Z", "a,b\n开", "m²", "GOOD", ""],
        [
            "3",
            "meter",
            "trend",
            "raw",
            "2026-09-21T14:13:20.000000000Z",
            "00ff",
            "",
            "GOOD",
            "2026-09-21T14:13:20.000000005Z",
        ],
        ["4", "press-01", "trend", "a", "2026-09-21T14:13:20.000000004Z", "4", "", "GOOD", ""],
    ]


def test_an_export_whose_reader_goes_ends_without_a_word(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8", buffering=1) as pipe:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as ended:
            main(["outbox", "export", str(state)])
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    assert ended.value.code == 1
    assert capsys.readouterr().err == ""


def test_json_lines_go_into_a_new_file_only(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.jsonl"
    assert say(capsys, "export", state, "--jsonl", "--device", "press-01", "-o", target) == ""
    readings = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [(reading["row"], reading["value"]) for reading in readings] == [(1, 1), (4, 4)]
    with pytest.raises(SystemExit) as ended:
        main(["outbox", "export", str(state), "-o", str(target)])
    assert ended.value.code == 1
    assert "File exists" in capsys.readouterr().err


async def test_an_export_reads_page_by_page_and_holds_no_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "EXPORT_PAGE_ROWS", 2)
    loop = asyncio.get_running_loop()
    async with opened(tmp_path, CLOUD) as outbox:
        reader = ThreadPoolExecutor(1)
        await fill(outbox, PRESS, *range(1, 8))
        going = await loop.run_in_executor(reader, inspect.Export, tmp_path / FILE_NAME)
        readings = going.readings()
        seen = [await loop.run_in_executor(reader, next, readings)]
        await drain(outbox.begin(CLOUD))
        await fill(outbox, PRESS, 8)  # what was there goes, something new comes

        is_busy, *_ = (await on_thread(outbox, "PRAGMA wal_checkpoint(TRUNCATE)"))[0]
        assert not is_busy, "nobody reads"
        seen += await loop.run_in_executor(reader, list, readings)
        reader.shutdown(wait=False)
    assert [reading["row"] for reading in seen] == [1, 2], "the page that it had; what is gone is gone"
    assert batch(PRESS, 1).time_ns == seen[0]["time_ns"]


def test_a_file_of_an_older_release_is_not_touched(capsys: pytest.CaptureFixture[str]) -> None:
    old = Path(__file__).parents[1] / "cases" / "outbox" / "schema-1" / "outbox.db"
    before = old.read_bytes()
    with pytest.raises(SystemExit):
        main(["outbox", "status", str(old)])
    assert "brought up to date when the agent starts" in capsys.readouterr().err
    assert old.read_bytes() == before
