"""Reads records out of the pages of a database, whatever became of the tree that held them.

SQLite finds a row by way of other pages; where one of them is damaged it gives up. Here every page is looked at
for itself (SQLite file format §1.6, §2.1, §4.1), with what the log (the WAL) has of it. What a record says is
checked by who takes it.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PAGE_BYTES = 4096
_TABLE_LEAF, _INDEX_LEAF = 0x0D, 0x0A
_WAL_HEADER_BYTES = 32
_FRAME = struct.Struct(">IIII")
"""Page, pages after a commit or 0, two salts; two checksums follow, which one damaged frame makes worthless."""
_FRAME_BYTES = 24 + PAGE_BYTES
_MAX_VALUE_BYTES = 64 * 1024 * 1024
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a table or of an index.

    Attributes:
        row_id: None in an index or a table WITHOUT ROWID.
        values: as SQLite would return them, without the affinities of columns.
    """

    row_id: int | None
    values: Sequence[Any]


class DamagedFile:
    """A database with its log, opened for reading page by page.

    Args:
        path: of the database; its log is beside it under ``-wal``.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        wal = Path(f"{path}-wal")
        self._file = self._stack.enter_context(path.open("rb", buffering=0)).fileno() if path.exists() else -1
        self._wal = self._stack.enter_context(wal.open("rb", buffering=0)).fileno() if wal.exists() else -1
        self._in_wal: dict[int, int] = {}
        self._doubtful: list[int] = []
        self.page_count = os.fstat(self._file).st_size // PAGE_BYTES if self._file >= 0 else 0
        if self._wal >= 0:
            self._read_wal()
        self._tree_pages = self.page_count
        self.page_count += len(self._doubtful)
        self._free = self._freelist()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def records(self, number: int) -> Iterator[Record]:
        """Yield what can be read of the records on page ``number`` (from 1), if it is a leaf in use."""
        if number in self._free:
            return
        page = self._page(number)
        head = 100 if number == 1 else 0
        kind = page[head] if len(page) == PAGE_BYTES else 0
        if kind not in {_TABLE_LEAF, _INDEX_LEAF}:
            return
        count = int.from_bytes(page[head + 3 : head + 5], "big")
        for at in range(head + 8, min(head + 8 + 2 * count, PAGE_BYTES - 1), 2):
            cell = int.from_bytes(page[at : at + 2], "big")
            try:
                yield self._record(page, cell, is_table=kind == _TABLE_LEAF)
            except (ValueError, IndexError, struct.error):
                continue

    def _page(self, number: int) -> bytes:
        at = self._in_wal.get(number)
        if number > self._tree_pages:
            at = self._doubtful[number - self._tree_pages - 1]
        try:
            if at is not None:
                return os.pread(self._wal, PAGE_BYTES, at)
            return os.pread(self._file, PAGE_BYTES, (number - 1) * PAGE_BYTES) if self._file >= 0 else b""
        except OSError:  # the disk cannot read this one
            return b""

    def _read_wal(self) -> None:
        """Note the newest committed frame of each page; a frame belongs to the log if its salts do.

        Frames whose checksum is wrong may be of another page than they say: they count as pages of their own.
        """
        places = range(_WAL_HEADER_BYTES, os.fstat(self._wal).st_size - _FRAME_BYTES + 1, _FRAME_BYTES)
        frames = [(at + 24, *_FRAME.unpack(os.pread(self._wal, _FRAME.size, at))) for at in places]
        salts = [(one, two) for _, _, _, one, two in frames[:5]]
        ours = max(salts, key=salts.count, default=None)  # the first five: one of them may be damaged
        pending: dict[int, int] = {}
        for at, number, committed_pages, one, two in frames:
            if (one, two) != ours or not 0 < number < 2**31:
                continue
            if not self._is_sound(at):
                self._doubtful.append(at)
                continue
            pending[number] = at
            if committed_pages:
                self._in_wal |= pending
                self.page_count = max(self.page_count, *pending)
                pending.clear()

    def _is_sound(self, at: int) -> bool:
        """Check a frame against the checksum of the one before, or of the header (SQLite file format §4.2)."""
        before = os.pread(self._wal, 8, at - 24 - _FRAME_BYTES + 16 if at > 32 + 24 else 24)
        head = os.pread(self._wal, _FRAME_BYTES, at - 24)
        one, two = struct.unpack(">II", before)
        words = struct.unpack("<1026I", head[:8] + head[24:])
        for at_word in range(0, len(words), 2):
            one = (one + words[at_word] + two) & 0xFFFFFFFF
            two = (two + words[at_word + 1] + one) & 0xFFFFFFFF
        return struct.pack(">II", one, two) == head[16:24]

    def _freelist(self) -> set[int]:
        """Return the pages that are not in use: what they still hold was let go of."""
        free: set[int] = set()
        trunk = int.from_bytes(self._page(1)[32:36], "big")
        while 1 < trunk <= self._tree_pages and trunk not in free:
            page = self._page(trunk)
            free.add(trunk)
            count = min(int.from_bytes(page[4:8], "big"), PAGE_BYTES // 4 - 2)
            free.update(struct.unpack_from(f">{count}I", page, 8) if len(page) == PAGE_BYTES else ())
            trunk = int.from_bytes(page[:4], "big")
        return free

    def _record(self, page: bytes, cell: int, *, is_table: bool) -> Record:
        size_bytes, at = _varint(page, cell)
        row_id, at = _varint(page, at) if is_table else (None, at)
        if not 0 < size_bytes <= _MAX_VALUE_BYTES:
            raise ValueError(size_bytes)
        most = PAGE_BYTES - 35 if is_table else (PAGE_BYTES - 12) * 64 // 255 - 23
        local = size_bytes
        if size_bytes > most:
            least = (PAGE_BYTES - 12) * 32 // 255 - 23
            local = least + (size_bytes - least) % (PAGE_BYTES - 4)
            local = local if local <= most else least
        payload = page[at : at + local]
        if local < size_bytes:
            payload += self._overflow(int.from_bytes(page[at + local : at + local + 4], "big"), size_bytes - local)
        return Record(_signed(row_id), _values(payload, size_bytes))

    def _overflow(self, number: int, left_bytes: int) -> bytes:
        pieces = []
        while left_bytes > 0:
            page = self._page(number)
            if not 1 < number <= self._tree_pages or len(page) < PAGE_BYTES:
                raise ValueError(number)
            pieces.append(page[4 : 4 + left_bytes])
            left_bytes -= PAGE_BYTES - 4
            number = int.from_bytes(page[:4], "big")
        return b"".join(pieces)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte, at = data[at], at + 1
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at
    return value << 8 | data[at], at + 1


def _signed(row_id: int | None) -> int | None:
    return row_id if row_id is None or row_id < 2**63 else row_id - 2**64


def _values(payload: bytes, size_bytes: int) -> list[Any]:
    if len(payload) != size_bytes:
        raise ValueError(size_bytes)
    header_bytes, at = _varint(payload, 0)
    kinds = []
    while at < header_bytes:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != size_bytes:
        raise ValueError(at)
    return values


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind >= 12:  # noqa: PLR2004 - the serial types of §2.1
        end = at + (kind - 12) // 2
        data = payload[at:end]
        return (data.decode() if kind % 2 else data), end
    if kind in _INTEGER_BYTES:
        end = at + _INTEGER_BYTES[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == 7:  # noqa: PLR2004
        return struct.unpack_from(">d", payload, at)[0], at + 8
    return {0: None, 8: 0, 9: 1}.get(kind), at
