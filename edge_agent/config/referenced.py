"""The files that a configuration refers to: certificates, keys, secrets. What is in them is part of it."""

import hashlib
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel

from edge_agent.config.shape import Location

MAX_FILE_BYTES = 1024 * 1024
"""Of a larger file, size and time count instead of its content; certificates and keys have a few KiB."""

_MAY_HOLD_PATHS = (Path, BaseModel, list, tuple)


def paths_in(value: object) -> Iterator[Path]:
    """Yield every path in a model, in the order of its fields."""
    return (path for _, path in paths_at(value, ()))


def paths_at(value: object, at: Location) -> Iterator[tuple[Location, Path]]:
    """Yield every path in a model with the place of its key in the document, in the order of the fields."""
    match value:
        case Path():
            yield at, value
        case BaseModel() | list() | tuple():
            for key, inner in value if isinstance(value, BaseModel) else enumerate(value):
                if isinstance(inner, _MAY_HOLD_PATHS):  # most fields are plain: nothing is started for them
                    yield from paths_at(inner, (*at, key))
        case _:
            pass


def content_digest(paths: Iterable[Path]) -> str:
    """Return a hash of what is in files, and in the files of folders; empty without a path. Blocks.

    What is missing or cannot be read counts as such: whoever uses it says what to do.
    """
    hashed = hashlib.sha256()
    is_any = False
    for path in paths:
        is_any = True
        for file in sorted(files_at(path)):
            hashed.update(f"{file}\0{_content(file)}\0".encode())
    return hashed.hexdigest() if is_any else ""


def files_at(path: Path) -> list[Path]:
    """Return the files of a folder, nothing of one that cannot be read; of anything else itself. Blocks."""
    try:
        return list(path.iterdir()) if path.is_dir() else [path]
    except OSError:
        return []


def stamps(paths: Iterable[Path]) -> dict[Path, tuple[int, ...]]:
    """Return what tells quickly that a file was replaced or written: inode, size, times. Blocks."""
    return {path: _stamp(path) for path in paths}


def _content(path: Path) -> str:
    stamp = _stamp(path)
    try:
        if stamp and path.stat().st_size <= MAX_FILE_BYTES:
            return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
    return str(stamp)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return when and where it was written; nothing for what has no content of its own, such as a serial port."""
    try:
        status = path.stat()
    except OSError:
        return ()
    if not stat.S_ISREG(status.st_mode):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
