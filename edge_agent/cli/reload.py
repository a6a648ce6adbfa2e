"""``edge-agent reload``: the running agent takes up its changed configuration."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from edge_agent.cli import table
from edge_agent.cli.control import act, socket_of
from edge_agent.cli.exits import ExitCode
from edge_agent.cli.wording import counted
from edge_agent.config import Problem

KINDS = (("devices", "device"), ("publishers", "publisher"))


def reload_agent(config: Path | None, control_socket: Path | None, *, is_trial: bool, as_json: bool) -> ExitCode:
    """Ask the agent and print what changed, or every problem of the file.

    Raises:
        EdgeAgentError: no agent answers there.
        ConfigError: the file at ``config`` does not even say where the agent is.
    """
    answer = act(control_socket or socket_of(config), "reload", {"dry_run": is_trial}, timeout_s=None)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    elif answer["ok"]:
        _print_changes(answer, is_trial=is_trial)
    else:
        for problem in answer["problems"]:
            typer.echo(
                str(Problem(**problem)) if "file" in problem else f"edge-agent: {problem['message']}", err=True
            )
        typer.echo("nothing was changed", err=True)
    if answer["ok"]:
        return ExitCode.DONE
    return ExitCode.BAD_CONFIG if answer["is_bad_config"] else ExitCode.FAILED


def _print_changes(answer: dict[str, Any], *, is_trial: bool) -> None:
    rows = list(_rows(answer))
    if rows:
        table.show(("what", "name", "change"), rows)
    unchanged = ", ".join(counted(answer[kind]["unchanged"], noun) for kind, noun in KINDS)
    verdict = "would change" if is_trial else "reloaded"
    typer.echo(f"{answer['file']}: {verdict if rows else 'nothing to change'}; as before: {unchanged}")


def _rows(answer: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for kind, noun in KINDS:
        for change in ("added", "removed", "changed", "adjusted"):
            yield from ((noun, name, change) for name in answer[kind][change])
    yield from (("setting", key, "changed") for key in answer["settings"])
