"""Exit codes, and how an error is told to a person."""

from collections.abc import Iterator
from enum import IntEnum

from edge_agent.errors import ConfigError, DriverLoadError, EdgeAgentError, OutboxIOError


class ExitCode(IntEnum):
    """What the process ends with; 74 and 78 are those of sysexits.h, 130 is the shells'."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    DISK_FAILED = 74
    BAD_CONFIG = 78
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.DONE: "done; also a running agent that was asked to stop",
    ExitCode.FAILED: "failed; the message says why",
    ExitCode.WRONG_USAGE: "wrong usage of the command line",
    ExitCode.DISK_FAILED: "the disk failed to write or sync: starting again reads back what is safe",
    ExitCode.BAD_CONFIG: "the configuration cannot be used: starting again does not help; systemd does not",
    ExitCode.INTERRUPTED: "Ctrl-C stopped a command that had not come to its end",
}


def exit_code(error: EdgeAgentError) -> ExitCode:
    """Return the code that ``error`` ends the process with."""
    match error:
        case ConfigError() | DriverLoadError():
            return ExitCode.BAD_CONFIG
        case OutboxIOError():
            return ExitCode.DISK_FAILED
        case _:
            return ExitCode.FAILED


def lines(error: EdgeAgentError) -> Iterator[str]:
    """Yield what a person reads: each problem of a configuration at its place, anything else in one line."""
    if isinstance(error, ConfigError):
        yield from map(str, error.problems)
    else:
        yield f"edge-agent: {error}"
