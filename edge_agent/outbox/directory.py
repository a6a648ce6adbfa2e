"""The state directory belongs to one process on one machine."""

import errno
import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from edge_agent.errors import OutboxError


class DirectoryLock:
    """Holds ``directory/lock`` until released or until the process is gone, however it ends.

    Raises:
        OutboxError: another process holds it, or the directory cannot be made or written.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        try:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._file = _open(path)
        except FileExistsError as exc:
            raise OutboxError(f"the state directory {directory} is a file, not a folder") from exc
        except OSError as exc:
            raise OutboxError(f"cannot use the state directory {directory}: {exc.strerror}") from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise OutboxError(
                f"{directory} is in use by process {holder}; stop it, or give this agent a directory of its own"
            ) from exc
        with suppress(OSError):  # a full or read-only disk: the lock holds without our name in it
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next process have the directory; silent when called twice."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as exc:
        if exc.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def machine_name(path: Path = Path("/etc/machine-id")) -> str:
    """Return a name that differs from machine to machine, or an empty text if the system gives none.

    Derived, for the machine-id itself must not leave the system's own files (machine-id(5)).
    """
    try:
        machine_id = path.read_bytes().strip()
    except OSError:
        return ""
    return hashlib.sha256(b"edge-agent outbox " + machine_id).hexdigest()[:32] if machine_id else ""
