"""``docs/reference/cli.md``, from the commands: ``python -m edge_agent.cli.reference`` prints it."""

import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from edge_agent.cli.commands import app
from edge_agent.cli.exits import MEANINGS

_HEAD = """# Commands

Generated from the code. `edge-agent COMMAND --help` says the same; `edge-agent --install-completion` teaches the
shell to complete them. Tables are drawn on a terminal and tab-separated in a pipe; errors go to standard error.

| Exit code | Meaning |
|---|---|
"""


def markdown() -> str:
    """Return the page."""
    codes = "".join(f"| {code.value} | {meaning} |\n" for code, meaning in MEANINGS.items())
    return (_HEAD + codes + "\n" + "\n".join(_sections(get_command(app), "edge-agent"))).rstrip() + "\n"


def _sections(command: Any, name: str) -> Iterator[str]:
    """Yield the lines of each command below ``command``, in the order of ``--help``."""
    inner = getattr(command, "commands", None)
    if inner is not None:
        for word, one in inner.items():
            yield from _sections(one, f"{name} {word}")
        return
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option"]
    yield f"## {' '.join([name, *map(_metavar, arguments)])}\n"
    yield f"{' '.join(command.help.split())}\n"
    yield "| Argument or option | Meaning |"
    yield "|---|---|"
    for param in arguments:
        yield f"| `{_metavar(param)}` | {param.help} |"
    for param in options:
        word = param.opts[0] if param.is_flag else f"{param.opts[0]} {_metavar(param)}"
        default = f" Default: {param.default}." if param.default and not param.is_flag else ""
        yield f"| `{word}` | {param.help}{default} |"
    yield ""


def _metavar(param: Any) -> str:
    return str(param.metavar or param.name.upper())


if __name__ == "__main__":
    sys.stdout.write(markdown())
