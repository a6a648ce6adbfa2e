"""``identifiers.lock``: old or new, whole; never made up again; one process at a time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.errors import IdentifierError
from edge_agent.identify import lockfile
from edge_agent.identify.codec import Fault
from edge_agent.identify.lock import Entry, Status, dump, load

ENTRY = Entry("88.101.1/EQ.a", first_seen="2026-11-23T08:00:00Z", frozen_at="2026-11-23T08:00:00Z", note="已存在")
OTHER = Entry("88.101.1/EQ.b", first_seen="2026-11-23T08:00:00Z", status=Status.DRAFT)
LOCK = {"device/a": ENTRY, "device/b": OTHER}

FREEZE = """
import asyncio, sys
from pathlib import Path
from edge_agent.clock import SystemClock
from edge_agent.identify.assign import Assignments
from edge_agent.identify.options import DeviceIdentity, IdentifierOptions

async def main(path, own, rounds):
    for i in range(rounds):
        devices = tuple(DeviceIdentity(f"{own}-{k}") for k in range(i + 1))
        options = IdentifierOptions("88.101.1", "gw-01", devices)
        await (await asyncio.to_thread(Assignments.open, options, path, clock=SystemClock())).freeze()
        print(i, flush=True)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / lockfile.FILE_NAME


def refused(path: Path) -> IdentifierError:
    with pytest.raises(IdentifierError) as caught:
        lockfile.read(path)
    assert str(path) in str(caught.value)
    return caught.value


def test_what_is_written_is_read_and_the_order_does_not_matter(path: Path) -> None:
    lockfile.write(path, LOCK)
    assert lockfile.read(path) == LOCK
    assert dump(LOCK) == dump(dict(reversed(LOCK.items()))) == path.read_bytes()


def test_no_file_is_no_codes(path: Path) -> None:
    assert lockfile.read(path) == {}


def test_group_may_read_and_others_nothing_whatever_the_umask(path: Path) -> None:
    before = os.umask(0o077)
    try:
        lockfile.write(path, LOCK)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_state_directory(path: Path) -> None:
    os.chown(path.parent, 1234, 1235)
    with lockfile.guard(path):
        lockfile.write(path, LOCK)
    for file in path.parent.iterdir():
        assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1235)


@pytest.mark.parametrize("call", ["os.fsync", "os.fchmod", "pathlib.Path.replace"])
def test_an_interrupted_write_leaves_the_old_file_whole(
    path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lockfile.write(path, LOCK)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(call, fail)
    with pytest.raises(IdentifierError, match="Input/output error") as caught:
        lockfile.write(path, {"device/a": ENTRY})
    monkeypatch.undo()
    assert caught.value.code == Fault.LOCK_IO
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_half_a_file_of_a_killed_process_is_overwritten(path: Path) -> None:
    path.with_name(path.name + ".new").write_bytes(b"{")
    lockfile.write(path, LOCK)
    assert lockfile.read(path) == LOCK
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_any_truncation_is_noticed(path: Path) -> None:
    content = dump(LOCK)
    for length in range(0, len(content) - 1, 7):  # the last byte is a line end
        path.write_bytes(content[:length])
        assert refused(path).code == Fault.LOCK_DAMAGED


def test_any_changed_letter_of_a_code_is_noticed_and_the_hint_says_what_to_do(path: Path) -> None:
    path.write_bytes(dump(LOCK).replace(b"EQ.a", b"EQ.c"))
    error = refused(path)
    assert error.code == Fault.LOCK_DAMAGED
    assert "ids import" in error.hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"version": 1}',
        b'{"version": "1", "checksum": "", "objects": {}}',
    ],
)
def test_nonsense_is_never_taken_for_an_empty_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refused(path).code == Fault.LOCK_DAMAGED


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"handle": "EQ.a"},
        {"handle": None},
        {"frozen_at": 5},
        {"more": ""},
        {"handle": "88.101.1/eq.B", "frozen_at": "2026-11-23T08:00:00Z"},
    ],
)
def test_a_file_of_another_maker_is_refused_even_with_a_right_checksum(
    path: Path, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = {key: {**vars_of(entry), "frozen_at": "2026-11-23T08:00:00Z"} for key, entry in LOCK.items()}
    frozen["device/a"].update(change)
    monkeypatch.setattr("edge_agent.identify.lock._checksum", lambda _: "right")
    path.write_text(json.dumps({"version": 1, "checksum": "right", "objects": frozen}))
    assert refused(path).code == Fault.LOCK_DAMAGED


def vars_of(entry: Entry) -> dict[str, object]:
    objects = json.loads(dump({"x": entry}))["objects"]
    return dict(objects["x"])


def test_a_newer_format_is_refused_and_kept(path: Path) -> None:
    path.write_text('{"version": 2}')
    error = refused(path)
    assert error.code == Fault.LOCK_NEWER
    assert "newer" in error.hint


def test_a_file_that_may_not_be_read_is_told_as_such(path: Path) -> None:
    path.mkdir()
    assert refused(path).code == Fault.LOCK_IO


def test_the_checksum_is_of_the_content_and_not_of_its_spelling() -> None:
    compact = json.dumps(json.loads(dump(LOCK)), separators=(",", ":")).encode()
    assert load(compact, "lock") == LOCK


def test_a_guard_that_somebody_holds_for_too_long_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.state_files._LOCK_PAUSE_S", 0)
    with lockfile.guard(path):
        with pytest.raises(IdentifierError) as caught, lockfile.guard(path):
            pass
        assert caught.value.code == Fault.LOCK_BUSY
    with lockfile.guard(path):
        pass


@pytest.mark.slow
def test_two_processes_that_freeze_at_once_lose_no_code(path: Path) -> None:
    rounds = 60
    processes = [
        subprocess.Popen([sys.executable, "-c", FREEZE, str(path), own, str(rounds)], stdout=subprocess.DEVNULL)
        for own in ("left", "right")
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    devices = {key for key, entry in lockfile.read(path).items() if entry.frozen_at and key.startswith("device/")}
    assert devices == {f"device/{own}-{k}" for own in ("left", "right") for k in range(rounds)}


@pytest.mark.slow
def test_a_code_that_was_frozen_before_a_kill_is_frozen_after_it(path: Path) -> None:
    for attempt in range(8):
        own = f"d{attempt}"
        process = subprocess.Popen(
            [sys.executable, "-c", FREEZE, str(path), own, "1000"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout as lines:
            frozen = [int(next(lines)) for _ in range(3 * attempt + 1)]
            process.kill()
        process.wait(timeout=60)
        lock = lockfile.read(path)
        assert {f"device/{own}-{k}" for k in range(frozen[-1] + 1)} <= {k for k, e in lock.items() if e.frozen_at}
