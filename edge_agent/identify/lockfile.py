"""``identifiers.lock`` on disk: read whole, replaced whole, changed by one process at a time.

Everything here blocks; on the event loop it runs in a thread.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Fault
from edge_agent.identify.lock import Entry, Lock, dump, load

FILE_NAME = "identifiers.lock"
_MODE = 0o640
_GUARD_TRIES = 100
_GUARD_PAUSE_S = 0.1


def read(path: Path) -> dict[str, Entry]:
    """Return the codes; none if the file does not exist.

    Raises:
        IdentifierError: ``lock_damaged``, ``lock_newer`` or ``lock_io``.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise _io_error(path, exc) from exc
    return load(content, str(path))


def write(path: Path, lock: Lock) -> None:
    """Replace the file; a crash or error at any moment leaves the old one or the new one, whole.

    Call it under ``guard``.

    Raises:
        IdentifierError: ``lock_io``.
    """
    new = path.with_name(path.name + ".new")
    try:
        try:
            with open(new, "wb", opener=_private) as file:
                _own(file.fileno(), path.parent)
                file.write(dump(lock))
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as exc:
        raise _io_error(path, exc) from exc


@contextlib.contextmanager
def guard(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file between our reading and our writing it.

    The lock is a file beside it, because the file itself is replaced; it ends with the process that holds it.

    Raises:
        IdentifierError: ``lock_io``, or ``lock_busy`` after ten seconds.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        handle = _private(str(path.with_name(f".{path.name}.guard")), os.O_RDWR | os.O_CREAT)
    except OSError as exc:
        raise _io_error(path, exc) from exc
    try:
        _own(handle, path.parent)
        _wait_for(handle, path)
        yield
    finally:
        os.close(handle)


def _wait_for(handle: int, path: Path) -> None:
    for _ in range(_GUARD_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_GUARD_PAUSE_S)
        else:
            return
    raise IdentifierError(
        f"{path} is being changed by another process",
        code=Fault.LOCK_BUSY,
        hint="look for another `edge-agent ids` command that hangs",
    )


def _private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)


def _own(handle: int, directory: Path) -> None:
    """Set the mode whatever the umask is; what an administrator writes as root stays the agent's."""
    os.fchmod(handle, _MODE)
    owner = directory.stat()
    if os.geteuid() == 0 != owner.st_uid:
        os.fchown(handle, owner.st_uid, owner.st_gid)


def _io_error(path: Path, exc: OSError) -> IdentifierError:
    return IdentifierError(
        f"{path}: {exc.strerror or exc}",
        code=Fault.LOCK_IO,
        hint="codes cannot be kept without it; see that the state directory can be written and has space",
    )
