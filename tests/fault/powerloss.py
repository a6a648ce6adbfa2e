"""What a power cut can leave of files: every write and sync of SQLite is recorded, then the disk is played back.

The recorder (powerloss_vfs.c) is registered in the library that Python's sqlite3 uses; what runs meanwhile is the
product's own code. A synced byte stays. Of what was written since, each 512-byte sector is kept, lost or garbled;
a file that was made and never synced may be missing; a truncation may not have happened. Bytes beside a write are
left alone, as SQLite assumes of disks (SQLITE_IOCAP_POWERSAFE_OVERWRITE).
"""

import ctypes
import hashlib
import os
import random
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).with_name("powerloss_vfs.c")
_BUILD = Path(__file__).parents[2] / ".build"
_RECORD = struct.Struct("=QIIII")
_SECTOR = 512


class Kind(IntEnum):
    """What a record of the trace says."""

    OPENED = 1
    WRITTEN = 2
    TRUNCATED = 3
    SYNCED = 4
    DELETED = 5
    MARKED = 6
    NOT_SYNCED = 7


class Operation(IntFlag):
    """What can be made to fail."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    OPEN = 8
    DELETE = 16


FULL = sqlite3.SQLITE_FULL
IO_ERROR = sqlite3.SQLITE_IOERR
READ_ONLY = sqlite3.SQLITE_READONLY


@cache
def _library() -> ctypes.CDLL:
    """Compile the recorder, once for each version of its source, and load it beside the library it goes into."""
    binary = _BUILD / f"powerloss_vfs-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not binary.exists():
        _BUILD.mkdir(exist_ok=True)
        unfinished = binary.with_suffix(f".{os.getpid()}")
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *flags, "-o", str(unfinished), str(_SOURCE), "-l:libsqlite3.so.0"], check=True)
        unfinished.replace(binary)
    library = ctypes.CDLL(str(binary))
    library.powerloss_fail.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_int]
    library.powerloss_seen.restype = ctypes.c_long
    return library


class Recorder:
    """What the block of ``recorded`` talks to."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def mark(self, text: str) -> None:
        """Put ``text`` into the trace, behind everything that was done before."""
        _library().powerloss_mark(text.encode())

    def fail(self, operations: Operation, nth: int, result: int, times: int = 1) -> None:
        """Let the ``nth`` of these operations from now on, and the ``times`` - 1 after it, give ``result``."""
        _library().powerloss_fail(operations, nth, times, result)

    def heal(self) -> int:
        """Let nothing fail any more; return how many operations there were since ``fail``."""
        seen: int = _library().powerloss_seen()
        _library().powerloss_fail(0, 1, 0, 0)
        return seen


@contextmanager
def recorded(trace: Path) -> Iterator[Recorder]:
    """Record everything that SQLite writes in this process. Connections are closed before the block ends."""
    library = _library()
    file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        assert library.powerloss_begin(file) == sqlite3.SQLITE_OK
        probe = sqlite3.connect(trace.with_suffix(".probe"))
        probe.execute("CREATE TABLE one (number)")
        probe.close()
        assert os.fstat(file).st_size, "the recorder is in another library than Python's sqlite3"
        trace.with_suffix(".probe").unlink()
        os.ftruncate(file, 0)
        yield Recorder(trace)
    finally:
        library.powerloss_end()
        os.close(file)


@dataclass
class _File:
    safe: bytearray = field(default_factory=bytearray)
    unsafe: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes (offset, data) and truncations (size, None) since the last sync."""
    is_entered: bool = False
    """Its name is in the directory for good."""
    may_be_back: bool = False
    """It was deleted, and the directory was not synced since."""

    def sync(self) -> None:
        for at, data in self.unsafe:
            _apply(self.safe, at, data)
        self.unsafe.clear()
        self.is_entered = True

    def fail_sync(self, dice: random.Random) -> None:
        """Linux takes the pages for clean: what did not reach the disk now never will, whatever later syncs do."""
        for at, data in self.unsafe:
            if dice.random() < 0.5:
                _apply(self.safe, at, data)
        self.unsafe.clear()


@dataclass(frozen=True)
class Image:
    """The files as the power cut left them, and the marks that had been made."""

    files: dict[str, bytes]
    marks: tuple[str, ...]
    number: int

    def write(self, directory: Path) -> None:
        """Put the files into ``directory``."""
        directory.mkdir()
        for name, data in self.files.items():
            (directory / name).write_bytes(data)


class Disk:
    """The disk after any part of a trace."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._files: dict[str, _File] = {}
        self._names: dict[int, str] = {}
        self.marks: list[str] = []

    def play(self, kind: Kind, file: int, offset: int, data: bytes) -> None:
        """Do what one record says."""
        if kind is Kind.MARKED:
            self.marks.append(data.decode())
        elif kind is Kind.OPENED:
            name = self._names[file] = Path(data.decode()).name
            if name not in self._files or self._files[name].may_be_back:
                self._files[name] = _File()
        elif kind is Kind.DELETED:
            name = Path(data.decode()).name
            if name in self._files:
                self._files[name].may_be_back = True
            if offset:
                self._sync_directory()
        elif kind is Kind.SYNCED:
            name = self._names[file]
            if name.endswith(("-wal", "-journal")) and not self._files[name].is_entered:
                self._sync_directory()  # as os_unix.c does with the first sync of a log that it has made
            self._files[name].sync()
        elif kind is Kind.NOT_SYNCED:
            self._files[self._names[file]].fail_sync(self._dice)
        else:
            change = data if kind is Kind.WRITTEN else None
            self._files[self._names[file]].unsafe.append((offset, change))

    def cut(self, number: int) -> Image:
        """Return what the power cut leaves now; another every time."""
        dice = self._dice
        kept, garbled = dice.choice((0.0, 0.1, 0.5, 0.9, 1.0)), dice.choice((0.0, 0.0, 0.1, 0.5))
        files = {}
        for name, file in self._files.items():
            if (file.may_be_back or not file.is_entered) and dice.random() < 0.5:
                continue
            files[name] = _after_the_cut(file, dice, kept, garbled)
        return Image(files, tuple(self.marks), number)

    def _sync_directory(self) -> None:
        self._files = {name: file for name, file in self._files.items() if not file.may_be_back}
        for file in self._files.values():
            file.is_entered = True


def _after_the_cut(file: _File, dice: random.Random, kept: float, garbled: float) -> bytes:
    left = bytearray(file.safe)
    for at, data in file.unsafe:
        if data is None:
            if dice.random() < kept:
                _apply(left, at, None)
            continue
        end = at + len(data)
        for start in [at, *range((at // _SECTOR + 1) * _SECTOR, end, _SECTOR)]:
            piece = data[start - at : min(end, (start // _SECTOR + 1) * _SECTOR) - at]
            if dice.random() < kept:
                _apply(left, start, piece)
            elif dice.random() < garbled:
                _apply(left, start, dice.randbytes(len(piece)))
    return bytes(left)


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def images(trace: Path, count: int, seed: int) -> Iterator[Image]:
    """Cut the power at ``count`` moments of the trace, spread at random, the last one at its end."""
    dice, content = random.Random(seed), trace.read_bytes()
    records = list(_records(content))
    moments = sorted([*(dice.randrange(1, len(records) + 1) for _ in range(count - 1)), len(records)])
    disk, number = Disk(dice), 0
    for position, record in enumerate(records, 1):
        disk.play(*record)
        while number < len(moments) and moments[number] == position:
            yield disk.cut(number)
            number += 1


def last_images(trace: Path, count: int, seed: int) -> Iterator[Image]:
    """Cut the power ``count`` times at the end of the trace."""
    dice = random.Random(seed)
    for number in range(count):
        disk = Disk(dice)
        for record in _records(trace.read_bytes()):
            disk.play(*record)
        yield disk.cut(number)


def _records(content: bytes) -> Iterator[tuple[Kind, int, int, bytes]]:
    at = 0
    while at < len(content):
        offset, kind, file, size, _ = _RECORD.unpack_from(content, at)
        at += _RECORD.size
        yield Kind(kind), file, offset, content[at : at + size]
        at += size
