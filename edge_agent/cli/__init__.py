"""The command line. Each command is a module that is loaded when it runs, so that small ones start at once."""

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from edge_agent.errors import EdgeAgentError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``arguments`` (default: the process's) name and exit with its code."""
    _open_streams()
    from edge_agent.cli.commands import app  # noqa: PLC0415 - it imports this package
    from edge_agent.cli.exits import ExitCode, exit_code, lines  # noqa: PLC0415 - as above

    try:
        app(args=arguments, prog_name="edge-agent")
    except EdgeAgentError as exc:
        sys.stderr.writelines(f"{line}\n" for line in lines(exc))
        sys.exit(exit_code(exc))
    except OSError as exc:
        if exc.filename is None and exc.errno != errno.ENOSPC:
            raise  # not a file that somebody named: a bug
        sys.stderr.write(f"edge-agent: {_told(exc)}\n")
        _let_go_of_output()
        sys.exit(ExitCode.FAILED)
    raise AssertionError("a command always ends with an exit code")


def _open_streams() -> None:
    """Give standard streams that are closed to nobody: the next file that is opened would be taken for one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            file = os.open(os.devnull, os.O_RDWR)
            if file != number:
                os.dup2(file, number)
                os.close(file)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be in no encoding


def _told(error: OSError) -> str:
    if error.filename is None:
        return f"cannot write standard output: {error.strerror}"
    remedy = "; use sudo, or the account of the agent" if isinstance(error, PermissionError) else ""
    return f"{error.filename}: {error.strerror}{remedy}"


def _let_go_of_output() -> None:
    """Leave what could not be written; Python would try once more at its end, and end with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
