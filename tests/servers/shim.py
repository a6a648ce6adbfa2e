"""Shims in C that are preloaded into the agent's process: compiled once for each version of their source."""

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

_BUILD = Path(__file__).parents[2] / ".build"


@cache
def shim(name: str) -> Path:
    """Return the library made of ``<name>.c``, for ``LD_PRELOAD``."""
    source = Path(__file__).with_name(f"{name}.c")
    binary = _BUILD / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.so"
    if not binary.exists():
        _BUILD.mkdir(exist_ok=True)
        unfinished = binary.with_suffix(f".{os.getpid()}")
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(unfinished)]
        subprocess.run([*command, str(source), "-ldl"], check=True)
        unfinished.replace(binary)
    return binary
