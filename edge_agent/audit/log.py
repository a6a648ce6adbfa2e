"""The audit log on disk: ``audit/audit.jsonl`` in the state directory, and older files beside it.

Several processes write it, the agent and commands beside it, one at a time. Everything here blocks.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.audit.chain import MENDED, PRUNED, SHORTENED, Actor, Entry, Head, is_torn, parse, seal
from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError
from edge_agent.state_files import give_to_owner_of, locks_within

FOLDER_NAME = "audit"
FILE_NAME = "audit.jsonl"
MAX_FILE_BYTES = 1024 * 1024
MAX_OLD_FILES = 15

_OLD = "audit-*.jsonl"
_TAIL_BYTES = 256 * 1024
_TOLD_BYTES = 2048
_LOCK_TRIES = 100
_MODE, _FOLDER_MODE = 0o640, 0o750


class AuditError(EdgeAgentError):
    """The audit log cannot be written or read."""


class AuditLog:
    """The audit log of one state directory.

    Attributes:
        head: the end of the chain as far as this object has seen it; None before.
    """

    def __init__(self, state: Path, clock: Clock) -> None:
        self._state = state
        self._folder = state / FOLDER_NAME
        self._path = self._folder / FILE_NAME
        self._clock = clock
        self.head: Head | None = None

    def record(self, act: str, outcome: str, actor: Actor, about: Mapping[str, Any]) -> Entry:
        """Append an entry; it is on the disk when this returns.

        Raises:
            AuditError: it cannot be written.
        """
        try:
            with self._locked() as folder:
                return self._append(folder, act, outcome, actor, about)
        except OSError as exc:
            raise AuditError(f"{act} cannot be recorded in {self._path}: {exc.strerror or exc}") from exc

    @contextmanager
    def act(self, act: str, actor: Actor, about: Mapping[str, Any]) -> Iterator[None]:
        """Record that something begins, and how it ended.

        Raises:
            AuditError: it cannot be recorded; before it began: then it is not done.
        """
        begun = self.record(act, "begun", actor, about).seq
        try:
            yield
        except BaseException as exc:
            why = str(exc) if isinstance(exc, EdgeAgentError) else type(exc).__name__
            self.record(act, "failed", actor, {"begun": begun, "why": why[:_TOLD_BYTES]})
            raise
        self.record(act, "done", actor, {"begun": begun})

    def look(self) -> Head:
        """Return the end of the chain, which other processes move on, too.

        Raises:
            AuditError: it cannot be read.
        """
        try:
            if not self._folder.is_dir() and self.head is None:
                return Head()
            with self._locked() as folder:
                tail = _Tail.of(self._path, self._old_files())
                if self._is_shortened(tail.head):
                    return self._append(folder, "audit.looked", "done", _ourselves(), {}).head
        except OSError as exc:
            raise AuditError(f"cannot read {self._path}: {exc.strerror or exc}") from exc
        self.head = tail.head
        return tail.head

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Yield every line with its place, the oldest first.

        Raises:
            AuditError: a file cannot be read.
        """
        path = self._path
        try:
            paths = (*self._old_files(), path)
        except OSError as exc:
            raise AuditError(f"cannot read {path}: {exc.strerror or exc}") from exc
        for path in paths:
            try:
                content = path.read_bytes() if path.exists() else b""
            except OSError as exc:
                raise AuditError(f"cannot read {path}: {exc.strerror or exc}") from exc
            for number, line in enumerate(content.splitlines(keepends=True), 1):
                yield f"{path.name}:{number}", line

    def entries(self) -> Iterator[Entry]:
        """Yield what can be read, the oldest first; ``chain.verify`` says whether it is all.

        Raises:
            AuditError: a file cannot be read.
        """
        for _, line in self.lines():
            try:
                yield parse(line)
            except ValueError:
                continue

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Have the folder, made if need be, to ourselves; the lock ends with the process."""
        if not self._folder.is_dir():
            self._state.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
            self._folder.mkdir(_FOLDER_MODE, exist_ok=True)
            give_to_owner_of(self._state, self._folder)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Whoever may read the folder may hold its lock: nobody holds the agent up with it for long.
            if not locks_within(folder, _LOCK_TRIES):
                raise OSError(errno.EBUSY, "another process holds its lock; `fuser` shows which")
            yield folder
        finally:
            os.close(folder)

    def _append(self, folder: int, act: str, outcome: str, actor: Actor, about: Mapping[str, Any]) -> Entry:
        tail = _Tail.of(self._path, self._old_files())
        is_new = not self._path.exists()
        if tail.size_bytes > MAX_FILE_BYTES and not tail.torn:
            self._path.rename(self._folder / f"audit-{tail.head.seq:012}.jsonl")
            is_new, tail = True, _Tail(tail.head, 0)
        acts: list[tuple[str, Mapping[str, Any]]] = []
        head = tail.head
        if self.head is not None and self._is_shortened(head):
            acts.append((SHORTENED, {"known": str(self.head)}))
            head = Head(self.head.seq, head.hash)
        if tail.torn:
            was = tail.torn[:_TOLD_BYTES].decode("utf-8", "replace")
            acts.append((MENDED, {"bytes": len(tail.torn), "was": was}))
        gone = self._old_files()[:-MAX_OLD_FILES]
        if gone:
            through = _Tail.of(gone[-1], []).head
            acts.append((PRUNED, {"through": through.seq, "hash": through.hash}))
        entry = self._write(tail.size_bytes, head, [*acts, (act, about)], outcome, actor)
        if is_new:
            os.fsync(folder)
        for path in gone:
            path.unlink(missing_ok=True)
        self.head = entry.head
        return entry

    def _write(
        self, at_bytes: int, head: Head, acts: list[tuple[str, Mapping[str, Any]]], outcome: str, actor: Actor
    ) -> Entry:
        """Write entries behind ``at_bytes``, where a torn one may stand; sync, and return the last one."""
        time = datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC).isoformat(timespec="milliseconds")
        lines: list[bytes] = []
        for number, (act, about) in enumerate(acts, 1):
            is_last = number == len(acts)
            line = seal(head, time, act, outcome if is_last else "done", actor if is_last else _ourselves(), about)
            lines.append(line)
            entry = parse(line)
            head = entry.head
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        try:
            os.fchmod(file, _MODE)
            give_to_owner_of(self._state, file)
            os.ftruncate(file, at_bytes)
            _write_all(file, b"".join(lines), at_bytes)
            os.fsync(file)
        finally:
            os.close(file)
        return entry

    def _is_shortened(self, head: Head) -> bool:
        """Return whether entries are gone that we have seen ourselves."""
        known = self.head
        return known is not None and (head.seq < known.seq or (head.seq == known.seq and head != known))

    def _old_files(self) -> list[Path]:
        return sorted(self._folder.glob(_OLD))


class _Tail:
    """The end of a file: the last entry, how far the sound part goes, and what is behind it.

    A power cut leaves half an entry, or a line of which sectors are missing; only the last line can be that. A
    line before it that is no entry was changed by somebody, stays, and breaks the chain for good.
    """

    def __init__(self, head: Head, size_bytes: int, torn: bytes = b"") -> None:
        self.head = head
        self.size_bytes = size_bytes
        self.torn = torn

    @classmethod
    def of(cls, path: Path, older: list[Path]) -> "_Tail":
        try:
            with path.open("rb") as file:
                size_bytes = file.seek(0, os.SEEK_END)
                file.seek(max(0, size_bytes - _TAIL_BYTES))
                content = file.read()
        except FileNotFoundError:
            size_bytes, content = 0, b""
        sound, _, torn = content.rpartition(b"\n")
        lines = sound.split(b"\n") if sound else []
        if lines and not torn and is_torn(lines[-1] + b"\n"):
            torn = lines.pop() + b"\n"
        for line in reversed(lines):
            if (head := _head_of(line)) is not None:
                return cls(head, size_bytes - len(torn), torn)
        before = cls.of(older[-1], older[:-1]).head if older else Head()
        return cls(before, size_bytes - len(torn), torn)


def _head_of(line: bytes) -> Head | None:
    try:
        return parse(line).head
    except ValueError:
        return None


def _ourselves() -> Actor:
    return Actor(os.getuid(), os.getpid())


def _write_all(file: int, content: bytes, at_bytes: int) -> None:
    while content:
        written = os.pwrite(file, content, at_bytes)
        content, at_bytes = content[written:], at_bytes + written
