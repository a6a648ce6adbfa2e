"""Files of the certificate store: complete or not there, and readable for the agent whoever wrote them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import DeviceUnavailableError

FOLDER_MODE = 0o750
PUBLIC, PRIVATE = 0o644, 0o600


def write(path: Path, content: bytes, mode: int = PUBLIC) -> None:
    """Write a file, its folder too, so that it is there whole or not at all, also after a power cut.

    Raises:
        DeviceUnavailableError: the disk or the rights do not allow it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        make_folder(path.parent)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - made with its mode: never readable in between
                os.fchmod(descriptor, mode)  # whatever the umask is
                _give_to_owner_of(path.parent, descriptor)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as exc:
        raise DeviceUnavailableError(f"cannot write {path}: {exc.strerror}") from exc


def remove(path: Path) -> None:
    """Remove a file; silent if it is not there.

    Raises:
        DeviceUnavailableError: the disk or the rights do not allow it.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise DeviceUnavailableError(f"cannot remove {path}: {exc.strerror}") from exc


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one thread or process at a time be inside, for one ``folder``; waits for its turn.

    Raises:
        DeviceUnavailableError: the disk or the rights do not allow it.
    """
    try:
        make_folder(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as exc:
        raise DeviceUnavailableError(f"cannot use {folder}: {exc.strerror}") from exc
    try:
        _give_to_owner_of(folder, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it; raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(FOLDER_MODE, exist_ok=True)
    _give_to_owner_of(folder.parent, folder)


def _give_to_owner_of(folder: Path, target: Path | int) -> None:
    """What root writes beside the agent must belong to the agent."""
    owner = folder.stat()
    if os.geteuid() == 0 != owner.st_uid:
        os.chown(target, owner.st_uid, owner.st_gid)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
