"""The command line. Each command is a module that is loaded when it runs, so that small ones start at once."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from edge_agent.errors import EdgeAgentError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``arguments`` (default: the process's) name and exit with its code."""
    from edge_agent.cli.commands import app  # noqa: PLC0415 - it imports this package
    from edge_agent.cli.exits import exit_code, lines  # noqa: PLC0415 - as above

    try:
        app(args=arguments, prog_name="edge-agent")
    except EdgeAgentError as exc:
        sys.stderr.writelines(f"{line}\n" for line in lines(exc))
        sys.exit(exit_code(exc))
    raise AssertionError("a command always ends with an exit code")
