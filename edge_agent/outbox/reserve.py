"""What keeps a full disk from being the end: a floor under the free space, and a ballast to throw off.

On a full disk even a DELETE and a checkpoint fail, for they need pages first. On the thread of the file.
"""

import os
from pathlib import Path

BALLAST_NAME = "ballast"
BALLAST_BYTES = 256 * 1024
UNKNOWN_BYTES = 2**62


class Reserve:
    """The free space of the file system that the outbox is on.

    Args:
        directory: the state directory.
        floor_bytes: free space that the outbox leaves.
    """

    def __init__(self, directory: Path, floor_bytes: int) -> None:
        self._directory = directory
        self._ballast = directory / BALLAST_NAME
        self._floor_bytes = floor_bytes

    @property
    def spare_bytes(self) -> int:
        """What may be taken before the floor is reached; negative below it. Enough, where nothing tells."""
        try:
            found = os.statvfs(self._directory)
        except OSError:
            return UNKNOWN_BYTES
        return found.f_bavail * found.f_frsize - self._floor_bytes

    def throw_off(self) -> bool:
        """Give the ballast back to the file system; return whether there was any."""
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    def take_on(self) -> None:
        """Make the ballast again, if there is none and space enough. What fails is tried again the next time."""
        if self._ballast.exists() or self.spare_bytes <= BALLAST_BYTES:
            return
        unfinished = self._ballast.with_suffix(".new")
        try:
            with unfinished.open("wb", buffering=0) as file:
                file.write(os.urandom(BALLAST_BYTES))  # nothing that a file system could compress or leave out
                os.fsync(file.fileno())
            unfinished.replace(self._ballast)
        except OSError:
            unfinished.unlink(missing_ok=True)
