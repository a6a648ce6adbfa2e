"""The audit log: what was recorded cannot be changed without showing, and a power cut is not somebody."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.audit import log as logs
from edge_agent.audit.chain import Actor, Head, Verdict, parse, verify
from edge_agent.audit.log import AuditError, AuditLog
from edge_agent.errors import OutboxError
from edge_agent.testing.fakes import FakeClock

ME = Actor(1000, 42, "li")


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path, FakeClock())


def fill(audit: AuditLog, count: int = 5) -> None:
    for number in range(1, count + 1):
        audit.record("test.act", "done", ME, {"number": number, "text": "改 \u2028 'x'"})


def file_of(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "audit.jsonl"


def judged(tmp_path: Path, known: Head | None = None) -> Verdict:
    return verify(AuditLog(tmp_path, FakeClock()).lines(), known)


def said(tmp_path: Path, known: Head | None = None) -> list[str]:
    return [f"{one.place}: {one.message}" for one in judged(tmp_path, known).breaks]


def test_what_was_recorded_is_there_and_sound(audit: AuditLog, tmp_path: Path) -> None:
    fill(audit)
    verdict = judged(tmp_path, audit.head)
    assert (verdict.first, verdict.entries, verdict.head, verdict.breaks) == (1, 5, audit.head, ())
    entry = list(audit.entries())[2]
    assert (entry.seq, entry.act, entry.outcome, entry.actor, entry.about["number"]) == (
        3,
        "test.act",
        "done",
        ME,
        3,
    )
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "audit").stat().st_mode & 0o007 == 0


def test_no_log_is_a_sound_log(tmp_path: Path) -> None:
    assert judged(tmp_path) == Verdict(0, Head(), 0, 0, ends_torn=False, breaks=())
    assert not (tmp_path / "audit").exists()


def lines_changed(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = file_of(tmp_path)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("change", "breaks"),
    [
        (
            lambda lines: [*lines[:2], lines[2].replace(b'"number":3', b'"number":4'), *lines[3:]],
            ["audit.jsonl:3: changed: its hash is another one", "audit.jsonl:4: entries 3 to 3 are missing"],
        ),
        (lambda lines: [*lines[:1], *lines[3:]], ["audit.jsonl:2: entries 2 to 3 are missing"]),
        (
            lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
            [
                "audit.jsonl:2: entries 2 to 2 are missing",
                "audit.jsonl:3: entry 2 follows entry 3",
                "audit.jsonl:4: entries 3 to 3 are missing",
            ],
        ),
        (lambda lines: [*lines, lines[4]], ["audit.jsonl:6: entry 5 follows entry 5"]),
        (lambda lines: lines[2:], ["audit.jsonl:1: entries 1 to 2 are missing, and no entry tells why"]),
        (
            lambda lines: [*lines[:2], b"nonsense\n", *lines[2:]],
            ["audit.jsonl:3: not an entry"],
        ),
        (
            lambda lines: [*lines[:4], lines[4].replace(b"done", b"doge")],
            ["audit.jsonl:5: changed: its hash is another one"],
        ),
    ],
    ids=["changed", "removed", "moved", "repeated", "beheaded", "inserted", "last changed"],
)
def test_a_change_shows_where_it_is(
    audit: AuditLog, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], breaks: list[str]
) -> None:
    fill(audit)
    lines_changed(tmp_path, change)
    assert said(tmp_path) == breaks
    AuditLog(tmp_path, FakeClock()).record("later", "done", ME, {})
    assert said(tmp_path)  # writing on heals nothing


def test_an_entry_that_was_made_to_fit_breaks_at_the_next_one(audit: AuditLog, tmp_path: Path) -> None:
    fill(audit)
    other = AuditLog(tmp_path / "other", FakeClock())
    fill(other, 2)
    other.record("forged", "done", ME, {})
    forged = file_of(tmp_path / "other").read_bytes().splitlines(keepends=True)[2]
    lines_changed(tmp_path, lambda lines: [*lines[:2], forged, *lines[3:]])
    assert said(tmp_path) == ["audit.jsonl:4: entry 4 was written behind another entry 3"]


def test_a_cut_off_end_shows_by_the_head_that_was_told_outside(audit: AuditLog, tmp_path: Path) -> None:
    fill(audit)
    assert audit.head is not None
    lines_changed(tmp_path, lambda lines: lines[:3])
    assert said(tmp_path) == []
    assert said(tmp_path, Head.parse(str(audit.head))) == ["end: entry 5, which was told outside, is missing"]
    other = AuditLog(tmp_path, FakeClock())
    fill(other, 3)  # the same number again, with other entries
    told = said(tmp_path, audit.head)
    assert told == ["end: entry 5, which was told outside, is another one"]


def test_a_running_agent_notices_that_entries_are_gone(audit: AuditLog, tmp_path: Path) -> None:
    fill(audit)
    lines_changed(tmp_path, lambda lines: lines[:2])
    known = audit.head
    audit.look()
    assert audit.head == judged(tmp_path).head
    assert f"audit.jsonl:3: cut off: the agent knew of entry {known}" in said(tmp_path)
    assert "audit.jsonl:3: entries 3 to 5 are missing" in said(tmp_path)


def test_a_running_agent_notices_that_the_whole_log_is_gone(audit: AuditLog, tmp_path: Path) -> None:
    fill(audit)
    known = audit.head
    shutil.rmtree(tmp_path / "audit")
    audit.look()
    assert f"audit.jsonl:1: cut off: the agent knew of entry {known}" in said(tmp_path)


def test_a_lock_that_somebody_holds_holds_nobody_up_for_ever(
    audit: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(audit)
    monkeypatch.setattr("edge_agent.state_files._LOCK_PAUSE_S", 0.0)
    folder = os.open(tmp_path / "audit", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        with pytest.raises(AuditError, match="another process holds its lock"):
            audit.record("later", "done", ME, {})
    finally:
        os.close(folder)
    audit.record("later", "done", ME, {})
    assert said(tmp_path) == []


def test_every_cut_through_the_last_entry_is_mended_and_told(audit: AuditLog, tmp_path: Path) -> None:
    fill(audit, 3)
    whole = file_of(tmp_path).read_bytes()
    begins = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for end in range(begins + 1, len(whole)):
        file_of(tmp_path).write_bytes(whole[:end])
        assert (judged(tmp_path).breaks, judged(tmp_path).ends_torn) == ((), True)
        AuditLog(tmp_path, FakeClock()).record("later", "done", ME, {})
        verdict = judged(tmp_path)
        assert (verdict.breaks, verdict.mended, verdict.head.seq) == ((), 1, 4)
        mended = list(audit.entries())[2]
        assert (mended.act, mended.about["bytes"]) == ("audit.mended", end - begins)
        assert mended.about["was"] == whole[begins:end].decode("utf-8", "replace")


@pytest.mark.parametrize("left", [b"\0" * 300, b"\0" * 300 + b"\n", b'{"act":\0\0\0\n'])
def test_a_sector_that_never_reached_the_disk_is_mended(audit: AuditLog, tmp_path: Path, left: bytes) -> None:
    fill(audit, 3)
    with file_of(tmp_path).open("ab") as file:
        file.write(left)
    assert judged(tmp_path).breaks == ()
    AuditLog(tmp_path, FakeClock()).record("later", "done", ME, {})
    assert (judged(tmp_path).breaks, judged(tmp_path).mended) == ((), 1)


def test_an_act_is_recorded_before_it_begins_and_when_it_ends(audit: AuditLog) -> None:
    with audit.act("good", ME, {"what": 1}):
        assert [entry.outcome for entry in audit.entries()] == ["begun"]
    with pytest.raises(OutboxError), audit.act("bad", ME, {}):
        raise OutboxError("the disk is on fire")
    outcomes = [(entry.act, entry.outcome, dict(entry.about)) for entry in audit.entries()]
    assert outcomes == [
        ("good", "begun", {"what": 1}),
        ("good", "done", {"begun": 1}),
        ("bad", "begun", {}),
        ("bad", "failed", {"begun": 3, "why": "the disk is on fire"}),
    ]


def test_what_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("in the way")
    is_done = False
    with (
        pytest.raises(AuditError, match="good cannot be recorded"),
        AuditLog(tmp_path, FakeClock()).act("good", ME, {}),
    ):
        is_done = True
    assert not is_done


def test_files_are_rotated_the_oldest_goes_and_the_chain_holds(
    audit: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 2000)
    monkeypatch.setattr(logs, "MAX_OLD_FILES", 3)
    for count in range(1, 80):
        audit.record("test.act", "done", ME, {"number": count})
        assert judged(tmp_path, audit.head).breaks == (), count
    verdict = judged(tmp_path)
    assert verdict.first > 10
    assert len(list((tmp_path / "audit").iterdir())) == 4
    oldest = min((tmp_path / "audit").glob("audit-*"))
    oldest.unlink()  # by somebody else
    (told,) = said(tmp_path)
    assert told.endswith("are missing, and no entry tells why")


def test_a_full_disk_leaves_a_sound_log(audit: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(audit)

    def pwrite(file: int, content: bytes, at_bytes: int) -> int:
        if at_bytes > full_at:
            raise OSError(28, "No space left on device")
        return write(file, content[:100], at_bytes)

    write, full_at = os.pwrite, file_of(tmp_path).stat().st_size
    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(AuditError, match="No space left"):
        audit.record("later", "done", ME, {})
    monkeypatch.setattr(os, "pwrite", write)
    audit.record("later", "done", ME, {})
    assert (judged(tmp_path).breaks, judged(tmp_path).mended) == ((), 1)


@pytest.mark.slow
def test_many_processes_write_one_chain(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from edge_agent.audit.log import AuditLog; from edge_agent.audit.chain import Actor\n"
        "from edge_agent.clock import SystemClock; audit = AuditLog(Path(sys.argv[1]), SystemClock())\n"
        "for number in range(50): audit.record('many', 'done', Actor(0, int(sys.argv[2])), {'number': number})\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(pid)]) for pid in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    verdict = judged(tmp_path)
    assert (verdict.entries, verdict.head.seq, verdict.breaks) == (200, 200, ())
    entries = list(AuditLog(tmp_path, FakeClock()).entries())
    for pid in range(4):
        assert [entry.about["number"] for entry in entries if entry.actor.pid == pid] == list(range(50))


@pytest.mark.parametrize("text", ["", "5", "5:abc", f"x:{'0' * 64}", f"5:{'g' * 64}"])
def test_a_head_is_written_as_it_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="SEQUENCE:HASH"):
        Head.parse(text)


def test_a_line_is_json_that_others_can_check(audit: AuditLog, tmp_path: Path) -> None:
    import hashlib  # noqa: PLC0415 - what somebody else would use

    fill(audit, 1)
    line = file_of(tmp_path).read_bytes()
    body = json.loads(line)
    digest = body.pop("hash")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert hashlib.sha256(canonical).hexdigest() == digest
    assert parse(line).head == audit.head
