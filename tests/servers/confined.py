"""Starts a program under what the unit file allows: its system calls, and no memory that is written and executed.

``python -m tests.servers.confined PROGRAM ARGUMENT…``; libseccomp makes the filter, as it does for systemd.
"""

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd" / "edge-agent.service"

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_MDWE = 65
_REFUSE_EXEC_GAIN = 1  # linux/prctl.h
_ALLOW = 0x7FFF0000  # seccomp.h: SCMP_ACT_ALLOW
_REFUSE = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO(EPERM), as SystemCallErrorNumber= says


def allowed() -> set[str]:
    """Return the names of the system calls that the unit allows, systemd.exec(5)."""
    names: set[str] = set()
    for line in UNIT.read_text("utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == "SystemCallFilter":
            listed = {name for word in value.lstrip("~").split() for name in _names(word)}
            names = names - listed if value.startswith("~") else names | listed
    return names


def confine(names: set[str]) -> None:
    """Allow this process, and what it starts, these system calls alone; there is no way back."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others are not of this architecture
            _expect(library.seccomp_rule_add_array(context, ctypes.c_uint32(_ALLOW), number, 0, None))
    libc = ctypes.CDLL(None, use_errno=True)
    _expect(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _expect(libc.prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0))
    _expect(library.seccomp_load(context))


def _names(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    shown = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True)
    words = [line.strip() for line in shown.stdout.splitlines()[1:] if line.strip() and line.strip()[0] != "#"]
    return {name for inner in words for name in _names(inner)}


def _expect(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno() or -result, "the process cannot be confined")


if __name__ == "__main__":
    confine(allowed())
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - what the caller names
