"""Opens the log whatever state it is in: a damaged one is set aside, and a new one begins at once.

Each new file is a generation: its row ids begin at a multiple of 2^40, so that what is salvaged from the one
before comes back under its own ids. On the thread of the file.
"""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.errors import OutboxCorruptError, OutboxError, OutboxFullError, OutboxReadOnlyError
from edge_agent.model import PublisherId
from edge_agent.outbox.accounts import Books
from edge_agent.outbox.directory import DirectoryLock, machine_name
from edge_agent.outbox.faults import translated
from edge_agent.outbox.mark import Mark
from edge_agent.outbox.migrations import NEWEST_SCHEMA
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.ranges import Ranges, Span
from edge_agent.outbox.records import Loaded, Read, Written
from edge_agent.outbox.reserve import Reserve
from edge_agent.outbox.sqlite import GENERATION_ROWS, LogFile
from edge_agent.outbox.tables import TABLES_NAME
from edge_agent.state_files import sync_folder

FILE_NAME = "outbox.db"
DAMAGED_NAME = "damaged"
NOTE_NAME = "note.json"
REPORT_NAME = "report.json"

_SUFFIXES = ("", "-wal", "-shm", "-journal")
_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Known:
    """What a running process knows of a file that turned out to be damaged."""

    kept: Ranges
    last_id: int
    acknowledged: Mapping[PublisherId, Ranges]
    told: Ranges
    """Rows of which gap records tell already."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """The open log, and what was in it.

    Attributes:
        set_aside: where the one before it went, if it was damaged.
        is_salvage_due: there are damaged ones of which rows may come back.
    """

    file: LogFile
    loaded: Loaded
    size_bytes: int
    used_bytes: int
    books: Books
    set_aside: Path | None
    is_salvage_due: bool


class Keeper:
    """Has the directory and the file; every method runs on the thread of the file and blocks.

    Attributes:
        file: None while it cannot be opened.
    """

    def __init__(
        self,
        options: OutboxOptions,
        publishers: Sequence[PublisherId],
        machine: str | None,
        starts_now: Collection[PublisherId] = (),
    ) -> None:
        self.file: LogFile | None = None
        self._machine = machine
        self._lock: DirectoryLock | None = None
        self._mark = Mark(options.directory)
        self.configure(options, publishers, starts_now)

    def configure(
        self, options: OutboxOptions, publishers: Sequence[PublisherId], starts_now: Collection[PublisherId]
    ) -> None:
        """Take other options, in the same directory; they count from the next time that the file is opened."""
        self.options = options
        self.publishers = tuple(publishers)
        self._starts_now = starts_now
        self._reserve = Reserve(options.directory, options.reserve_bytes)

    def lock(self) -> None:
        """Take the directory for this process.

        Raises:
            OutboxError: another process has it, or it cannot be used.
        """
        self._lock = DirectoryLock(self.options.directory)
        if self._machine is None:
            self._machine = machine_name()

    def reopen(self, now_ns: int) -> "OpenedFile":
        """Open the log, again if need be; set it aside first if it is damaged.

        Raises:
            OutboxReadOnlyError: the disk takes no writes.
            OutboxFullError: the disk is full, the ballast given up included.
            OutboxError: it is no outbox of ours, or a newer release wrote it.
        """
        self._close_file()
        try:
            return self._open_or_replace(now_ns)
        except OutboxFullError:
            if not self._reserve.throw_off():
                raise
            return self._open_or_replace(now_ns)

    def replace(self, now_ns: int, why: str, known: Known | None = None) -> "OpenedFile":
        """Set the file aside and begin a new one.

        Raises:
            OutboxReadOnlyError: the disk takes no writes.
            OutboxFullError: there is no space even for that.
        """
        self._close_file()
        directory = self.options.directory
        last_id = max(known.last_id if known else 0, self._mark.read() or 0, _highest(directory))
        folder = set_aside(directory, now_ns, why, last_id, known)
        return self._open(now_ns, folder, first_id=(last_id // GENERATION_ROWS + 1) * GENERATION_ROWS)

    def write(self, *args: Any) -> Written:
        """As ``LogFile.write``."""
        return self._opened.write(*args)

    def read(self, spans: Sequence[Span], read: Read) -> None:
        """As ``LogFile.read``."""
        self._opened.read(spans, read)

    def restore(self, *args: Any) -> tuple[Ranges, Books]:
        """As ``LogFile.restore``."""
        return self._opened.restore(*args)

    def close(self) -> None:
        """Close the file and let go of the directory."""
        try:
            self._close_file()
        finally:
            if self._lock is not None:
                self._lock.release()

    @property
    def _opened(self) -> LogFile:
        if self.file is None:
            raise OutboxReadOnlyError(f"{self.options.directory / FILE_NAME} cannot be opened")
        return self.file

    def _close_file(self) -> None:
        file, self.file = self.file, None
        if file is not None:
            file.close()

    def _open_or_replace(self, now_ns: int) -> "OpenedFile":
        path = self.options.directory / FILE_NAME
        mark = self._mark.read()
        try:
            inspect(path, mark)
            return self._open(now_ns)
        except OutboxCorruptError as exc:
            return self.replace(now_ns, str(exc))
        except OutboxError as exc:
            if mark is None or type(exc) is not OutboxError or not _is_ours(path):
                raise
            return self.replace(now_ns, str(exc))

    def _open(self, now_ns: int, folder: Path | None = None, first_id: int = 0) -> "OpenedFile":
        file = LogFile(self.options.directory / FILE_NAME, self._machine or "", now_ns, self.options)
        try:
            if first_id:
                file.begin_at(first_id)
            loaded = file.load(self.publishers, now_ns, self._starts_now if folder is None else ())
            size_bytes, upkeep = file.size_bytes(), file.upkeep
            opened = OpenedFile(
                file,
                loaded,
                size_bytes,
                upkeep.retention.used_bytes(),
                upkeep.accounts.books(),
                folder,
                bool(waiting(self.options.directory)),
            )
        except BaseException as exc:
            file.close()
            if isinstance(exc, ValueError | TypeError):  # a value in the file that was never written
                raise OutboxCorruptError(f"{self.options.directory / FILE_NAME}: {exc}") from exc
            raise
        self.file = file
        return opened


def inspect(path: Path, mark: int | None) -> None:
    """Find damage that SQLite would pass over, or repair in silence, before it can touch the file.

    Raises:
        OutboxCorruptError: the file is not what was written.
    """
    wal = Path(f"{path}-wal")
    size_bytes = path.stat().st_size if path.exists() else 0
    if size_bytes == 0:
        if (mark and path.exists()) or (wal.exists() and wal.stat().st_size > 0):
            raise OutboxCorruptError(f"{path}: the file is empty, and should not be")
        return
    with path.open("rb") as file:
        header = file.read(100)
    if Path(f"{path}-journal").exists():
        return  # the power went while the file was made; opening it to write finishes or undoes that
    # What is in the log counts: a power cut may have torn the header in the file.
    has_log = wal.exists() and wal.stat().st_size > 0
    if mark is not None and not has_log and not _is_sound(header):
        raise OutboxCorruptError(f"{path}: its header is damaged")
    with translated(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as sql:
        tables = {name for (name,) in sql.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        found = sql.execute("SELECT seq FROM sqlite_sequence WHERE name = 'row'") if "row" in tables else ()
        last_id = max((seq for (seq,) in found), default=0)
    if mark is not None and not isinstance(last_id, int):
        raise OutboxCorruptError(f"{path}: nobody can say how many rows it had")
    if mark is not None and mark > last_id:
        raise OutboxCorruptError(f"{path}: it ends at row {last_id}, but row {mark} was committed")


def set_aside(directory: Path, now_ns: int, why: str, last_id: int, known: Known | None = None) -> Path:
    """Move the log of ``directory`` into a folder of its own, with a note of what is known; return the folder.

    Raises:
        OutboxReadOnlyError: the disk takes no writes.
        OutboxFullError: there is no space even for that.
    """
    stamp = datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%SZ")
    parent = directory / DAMAGED_NAME
    try:
        parent.mkdir(mode=0o750, exist_ok=True)
        number = 1
        while (folder := parent / f"{stamp}-{number}").exists():
            number += 1
        folder.mkdir(mode=0o750)
        note: dict[str, object] = {"why": why, "last_id": last_id}
        if known is not None:
            note |= {
                "kept": known.kept.spans(),
                "told": known.told.spans(),
                "acknowledged": {publisher: has.spans() for publisher, has in known.acknowledged.items()},
            }
        (folder / NOTE_NAME).write_text(json.dumps(note), "utf-8")
        for name in (*(f"{FILE_NAME}{suffix}" for suffix in _SUFFIXES), TABLES_NAME):
            if (directory / name).exists():
                (directory / name).rename(folder / name)
        for changed in (folder, directory):
            sync_folder(changed)
    except OSError as exc:
        raise OutboxFullError(f"cannot set {directory / FILE_NAME} aside: {exc.strerror}") from exc
    return folder


def waiting(directory: Path) -> list[Path]:
    """Return the folders that are not salvaged yet, the oldest first."""
    parent = directory / DAMAGED_NAME
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not (path / REPORT_NAME).exists())


def _highest(directory: Path) -> int:
    """Return the highest id that the file says it had; 0 if it cannot say."""
    path = directory / FILE_NAME
    if _is_empty(path):
        return 0
    try:
        with translated(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as sql:
            found = sql.execute("SELECT seq FROM sqlite_sequence WHERE name = 'row'").fetchone()
    except OutboxError:
        return 0
    last_id = found[0] if found else 0
    return last_id if isinstance(last_id, int) and 0 <= last_id < 2**62 else 0


def _is_sound(header: bytes) -> bool:
    """Whether the fixed parts of the header are as we write them (SQLite file format §1.3)."""
    return (
        header[:16] == _MAGIC
        and header[16:18] == b"\x10\x00"
        and header[18:20] == b"\x02\x02"
        and header[20:24] == b"\x00\x40\x20\x20"
        and header[44:48] == b"\x00\x00\x00\x04"
        and header[56:60] == b"\x00\x00\x00\x01"
    )


def _is_ours(path: Path) -> bool:
    """Whether the file was made by this release or an older one, whatever its header says by now."""
    if _is_empty(path):
        return True  # there is a mark, so it was an outbox
    try:
        with translated(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as sql:
            steps = sql.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()[0]
    except OutboxError:
        return True  # as above
    return bool(steps <= NEWEST_SCHEMA)


def _is_empty(path: Path) -> bool:
    """Whether it must not even be opened: SQLite deletes the log of an empty database, with the rows in it."""
    return not path.exists() or path.stat().st_size == 0
