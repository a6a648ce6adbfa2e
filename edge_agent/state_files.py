"""What every file in the state directory needs: a name that a power cut leaves, an owner, a lock that ends."""

import fcntl
import os
import time
from pathlib import Path

_LOCK_PAUSE_S = 0.05


def sync_folder(folder: Path) -> None:
    """Put the names in ``folder`` on the disk: what was renamed stays so after a power cut, fsync(2). Blocks.

    Raises:
        OSError: the disk failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_to_owner_of(folder: Path, target: Path | int) -> None:
    """What an administrator writes as root stays the agent's.

    Nothing is given to whom it belongs already: the service may not even ask for that (``SystemCallFilter=``).

    Args:
        folder: whose owner gets it.
        target: a path or a descriptor.
    """
    owner = folder.stat()
    if os.geteuid() == 0 != owner.st_uid:
        os.chown(target, owner.st_uid, owner.st_gid)


def locks_within(descriptor: int, tries: int) -> bool:
    """Take the lock of an open file or folder, which ends with the process. Blocks, a twentieth of a second a try.

    Returns:
        False if another process holds it all the time.
    """
    for _ in range(tries):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return True
    return False
