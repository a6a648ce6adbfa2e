"""The file itself: its form, what is refused, how much of it stays, and how errors are named."""

import os
import sqlite3
from pathlib import Path

import pytest

from edge_agent.errors import (
    OutboxCorruptError,
    OutboxError,
    OutboxFullError,
    OutboxIOError,
    OutboxReadOnlyError,
)
from edge_agent.model import Column, DataType, DeviceId, ReadingBatch
from edge_agent.outbox import sqlite
from edge_agent.outbox.buffer import Buffer
from edge_agent.outbox.directory import machine_name
from edge_agent.outbox.faults import translated
from edge_agent.outbox.learned import MAX_DEVICE_CHARS, Learned
from edge_agent.outbox.ledger import Plan
from edge_agent.outbox.migrations import APPLICATION_ID, NEWEST_SCHEMA
from edge_agent.outbox.records import Read
from edge_agent.outbox.sqlite import LogFile
from tests.model.outbox_kit import CLOUD, batch, numbers, table

PRESS = table()


def pragma(path: Path, name: str) -> object:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        connection.close()


def test_the_file_has_the_form_that_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    file = LogFile(path, "m", 1)
    own = {
        name: file._sql.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "mmap_size", "journal_mode")
    }
    file.close()
    assert own == {"synchronous": 2, "mmap_size": 0, "journal_mode": "wal"}
    assert pragma(path, "auto_vacuum") == 2  # incremental
    assert pragma(path, "page_size") == 4096
    assert pragma(path, "application_id") == APPLICATION_ID
    assert pragma(path, "user_version") == NEWEST_SCHEMA == 3
    connection = sqlite3.connect(path)
    ours = connection.execute("SELECT name FROM pragma_table_list WHERE NOT strict AND name NOT LIKE '%sqlite_%'")
    assert ours.fetchall() == []
    connection.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    LogFile(path, "m", 1).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    with pytest.raises(OutboxError, match=r"newer release \(schema 4, this one knows 3"):
        LogFile(path, "m", 1)


def test_a_database_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(OutboxError, match="no outbox"):
        LogFile(path, "m", 1)
    assert path.read_bytes() == before


def test_a_creation_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.close()
    LogFile(path, "m", 1).close()
    assert pragma(path, "user_version") == 3


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"x" * 8192)
    with pytest.raises(OutboxCorruptError):
        LogFile(path, "m", 1)


def test_a_file_that_cannot_be_opened_says_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(OutboxReadOnlyError, match="check the disk and the permissions"):
        LogFile(tmp_path / "missing" / "outbox.db", "m", 1)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, OutboxFullError),
        (sqlite3.SQLITE_IOERR_FSYNC, OutboxIOError),
        (sqlite3.SQLITE_IOERR_DIR_FSYNC, OutboxIOError),
        (sqlite3.SQLITE_IOERR_READ, OutboxIOError),
        (sqlite3.SQLITE_IOERR, OutboxIOError),
        (sqlite3.SQLITE_IOERR_WRITE, OutboxReadOnlyError),
        (sqlite3.SQLITE_IOERR_TRUNCATE, OutboxReadOnlyError),
        (sqlite3.SQLITE_IOERR_SHMSIZE, OutboxReadOnlyError),
        (sqlite3.SQLITE_IOERR_LOCK, OutboxReadOnlyError),
        (sqlite3.SQLITE_READONLY, OutboxReadOnlyError),
        (sqlite3.SQLITE_READONLY_DBMOVED, OutboxReadOnlyError),
        (sqlite3.SQLITE_CANTOPEN, OutboxReadOnlyError),
        (sqlite3.SQLITE_CORRUPT, OutboxCorruptError),
        (sqlite3.SQLITE_IOERR_SHORT_READ, OutboxCorruptError),
        (sqlite3.SQLITE_NOTADB, OutboxCorruptError),
        (sqlite3.SQLITE_BUSY, OutboxError),
    ],
)
def test_errors_of_sqlite_become_ours(code: int, expected: type[OutboxError]) -> None:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    with pytest.raises(OutboxError) as caught, translated(Path("outbox.db")):
        raise error
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error


def test_point_tables_go_with_their_last_row(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "outbox.db", "m", 1)
    buffer = Buffer()
    for number, of in enumerate((table("a"), table("b"), table("a"))):
        buffer.add(of, batch(of, number))
    rows = buffer.take()
    file.write(rows, 1, Plan(), [])
    count = "SELECT group_concat(device) FROM point_table"
    assert file._sql.execute(count).fetchone()[0] == "a,b", "the same content is stored once"
    file.write([], 4, Plan(released=[(1, 2)]), [])
    assert file._sql.execute(count).fetchone()[0] == "a"
    file.write(rows[1:2], 4, Plan(released=[(3, 3)]), [])
    assert file._sql.execute(count).fetchone()[0] == "b"
    assert len(file.load([CLOUD], 1).kept) == 1
    file.close()


def test_a_commit_that_fails_at_its_end_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LogFile(tmp_path / "outbox.db", "m", 1)
    buffer = Buffer()
    buffer.add(PRESS, batch(PRESS, 5))

    def full(*_args: object) -> None:
        error = sqlite3.OperationalError("full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as failing:
        failing.setattr(LogFile, "_store", full)
        with pytest.raises(OutboxFullError):
            file.write(buffer.take(), 1, Plan(), [])
    assert len(file.load([CLOUD], 1).kept) == 0
    file.write(buffer.take(), 1, Plan(), [])
    read = Read(9, 9999, historical=True)
    file.read([(1, 1)], read)
    file.close()
    assert (numbers(read.rows), read.damaged) == ([5], [])


def test_space_goes_back_to_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_SPARE_PAGES", 8)
    path = tmp_path / "outbox.db"
    file = LogFile(path, "m", 1)
    buffer = Buffer()
    text = os.urandom(100_000).hex()
    buffer.add(
        PRESS, ReadingBatch(PRESS.device, 1, (Column(DataType.STRING, batch(PRESS, 1).columns[0].points, [text]),))
    )
    file.write(buffer.take(), 1, Plan(), [])
    file._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    large = path.stat().st_size
    file.write([], 2, Plan(released=[(1, 1)]), [])
    file.close()
    assert large > 100_000
    assert path.stat().st_size < large - 80_000


def test_the_size_of_the_log_file_is_bounded_after_a_large_commit(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "outbox.db", "m", 1)
    assert file._sql.execute("PRAGMA journal_size_limit").fetchone()[0] == 8 * 1024 * 1024
    file.close()


def test_the_name_of_a_machine_is_derived(tmp_path: Path) -> None:
    for content in (b"0123456789abcdef0123456789abcdef\n", b"fedcba9876543210fedcba9876543210\n"):
        (tmp_path / content.hex()[:8]).write_bytes(content)
    one, other = (machine_name(path) for path in sorted(tmp_path.iterdir()))
    assert one != other
    assert "0123456789abcdef" not in one + other
    assert machine_name(tmp_path / "none") == ""
    (tmp_path / "empty").touch()
    assert machine_name(tmp_path / "empty") == ""


def test_what_a_driver_may_keep_is_bounded_text() -> None:
    state = Learned().of(DeviceId("press-01"))
    state["a"] = "x" * (MAX_DEVICE_CHARS - 1)
    state["a"] = "y" * (MAX_DEVICE_CHARS - 1)
    with pytest.raises(ValueError, match="may keep"):
        state["b"] = "z"
    with pytest.raises(UnicodeEncodeError):
        state["a"] = "\ud800"
    assert list(state) == ["a"]
