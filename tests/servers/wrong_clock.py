"""A wall clock that is wrong, steps and is set, for a process started with it; control time stays right."""

import struct
import time
from pathlib import Path

from tests.servers.shim import shim


class WrongClock:
    """The clock that a process with ``environment`` sees."""

    def __init__(self, folder: Path, *, off_s: float = 0.0, is_synced: bool = True) -> None:
        self._file = folder / "clock"
        self._file.write_bytes(bytes(16))
        self.environment = {"LD_PRELOAD": str(shim("clock_shim")), "CLOCK_SHIM": str(self._file)}
        self.set(off_s, is_synced=is_synced)

    def set(self, off_s: float, *, is_synced: bool = True) -> None:
        """Let it be wrong by ``off_s`` from now on, and the kernel say that it is right or that nobody knows."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=qq", int(off_s * 10**9), int(is_synced)))

    def show(self, year: int, *, is_synced: bool) -> None:
        """Let it show the beginning of ``year`` now."""
        self.set(time.mktime((year, 1, 1, 0, 0, 0, 0, 0, 0)) - time.time(), is_synced=is_synced)
