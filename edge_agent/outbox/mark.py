"""How far the log had got, told outside the log: what shows that a damaged log has lost commits.

A damaged frame makes SQLite forget it and every commit after it, without a word (SQLite file format §4.5); so
does a log that was cut off. The mark is written behind each commit and never synced: after a power cut it may say
less than there is, never more.
"""

import os
import struct
import zlib
from pathlib import Path

MARK_NAME = "outbox.mark"
_MARK = struct.Struct("<QI")


class Mark:
    """The highest row id that was ever committed."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / MARK_NAME
        self._written = -1

    def read(self) -> int | None:
        """Return it; None where there is no mark that can be read."""
        try:
            last_id, crc = _MARK.unpack(self._path.read_bytes())
        except (OSError, struct.error):
            return None
        return int(last_id) if crc == _crc(last_id) else None

    def write(self, last_id: int) -> None:
        """Note it. A disk that takes no writes leaves the mark behind, which does no harm."""
        if last_id == self._written:
            return
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.pwrite(file, _MARK.pack(last_id, _crc(last_id)), 0)
            finally:
                os.close(file)
        except OSError:
            return
        self._written = last_id


def _crc(last_id: int) -> int:
    return zlib.crc32(b"%d" % last_id)
