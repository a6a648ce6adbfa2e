"""``identifiers.lock`` on disk: read whole, replaced whole, changed by one process at a time.

Everything here blocks; on the event loop it runs in a thread.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Fault
from edge_agent.identify.lock import Entry, Lock, dump, load
from edge_agent.state_files import give_to_owner_of, locks_within, sync_folder

FILE_NAME = "identifiers.lock"
_MODE = 0o640
_GUARD_TRIES = 200


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
        sync_folder(path.parent)
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
        if not locks_within(handle, _GUARD_TRIES):
            raise IdentifierError(
                f"{path} is being changed by another process",
                code=Fault.LOCK_BUSY,
                hint="look for another `edge-agent ids` command that hangs",
            )
        yield
    finally:
        os.close(handle)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)


def _own(handle: int, directory: Path) -> None:
    """Set the mode whatever the umask is, and the owner."""
    os.fchmod(handle, _MODE)
    give_to_owner_of(directory, handle)


def _io_error(path: Path, exc: OSError) -> IdentifierError:
    return IdentifierError(
        f"{path}: {exc.strerror or exc}",
        code=Fault.LOCK_IO,
        hint="codes cannot be kept without it; see that the state directory can be written and has space",
    )
