"""Whether a file that holds a secret can be read by others than it is for.

The rule is the one that PostgreSQL has for its keys: a file of root may be read by its group, which is how an
administrator gives it to a service; a file of anybody else is for its owner alone. A folder that lets nobody else
in protects what is in it. Access control lists can only narrow what these bits say, as the mode shows their mask.
"""

import stat
from pathlib import Path

_MINE = stat.S_IRWXG | stat.S_IRWXO
_ROOTS = stat.S_IWGRP | stat.S_IRWXO


def exposure(path: Path) -> str | None:
    """Return who else can get at the file and what to do about it; None = nobody, or it cannot be seen."""
    try:
        real = path.resolve(strict=True)
        status = real.stat()
        too_much = status.st_mode & (_ROOTS if status.st_uid == 0 else _MINE)
        for folder in real.parents if too_much else ():
            too_much &= ~_kept_out(folder.stat().st_mode)
    except OSError:
        return None
    if not too_much:
        return None
    who = "everybody on this machine" if too_much & stat.S_IRWXO else f"its group (gid {status.st_gid})"
    mode = 0o640 if status.st_uid == 0 else 0o600
    return f"{real} holds a secret and is open to {who}: chmod {mode:o} {real}"


def _kept_out(mode: int) -> int:
    """Return whom a folder of this mode lets through to nothing; the group of the file may be others to it."""
    if mode & stat.S_IXOTH:
        return 0
    return stat.S_IRWXO if mode & stat.S_IXGRP else stat.S_IRWXO | stat.S_IRWXG
