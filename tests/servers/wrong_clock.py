"""A wall clock that is wrong, steps and is set, for a process started with it; control time stays right."""

import hashlib
import os
import struct
import subprocess
import time
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock_shim.c")
_BUILD = Path(__file__).parents[2] / ".build"


class WrongClock:
    """The clock that a process with ``environment`` sees."""

    def __init__(self, folder: Path, *, off_s: float = 0.0, is_synced: bool = True) -> None:
        self._file = folder / "clock"
        self._file.write_bytes(bytes(16))
        self.environment = {"LD_PRELOAD": str(_shim()), "CLOCK_SHIM": str(self._file)}
        self.set(off_s, is_synced=is_synced)

    def set(self, off_s: float, *, is_synced: bool = True) -> None:
        """Let it be wrong by ``off_s`` from now on, and the kernel say that it is right or that nobody knows."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=qq", int(off_s * 10**9), int(is_synced)))

    def show(self, year: int, *, is_synced: bool) -> None:
        """Let it show the beginning of ``year`` now."""
        self.set(time.mktime((year, 1, 1, 0, 0, 0, 0, 0, 0)) - time.time(), is_synced=is_synced)


@cache
def _shim() -> Path:
    binary = _BUILD / f"clock_shim-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not binary.exists():
        _BUILD.mkdir(exist_ok=True)
        unfinished = binary.with_suffix(f".{os.getpid()}")
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(unfinished)]
        subprocess.run([*command, str(_SOURCE), "-ldl"], check=True)
        unfinished.replace(binary)
    return binary
