# ruff: noqa: PLC0415 - a command imports what it needs, so that `edge-agent version` is quick
"""``edge-agent outbox dead-letter``: rows that a broker refused for what they are."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Rows that a broker refused for what they are: look, retry, drop.")

Outbox = Annotated[
    Path, typer.Argument(metavar="PATH", help="The agent's YAML file, its state directory, or an outbox.db.")
]
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Which ones, by their number.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Json = Annotated[bool, typer.Option("--json", help="For scripts: JSON.")]


@app.command("list")
def list_letters(path: Outbox, *, as_json: Json = False) -> None:
    """List them, the oldest first. Works beside a running agent."""
    from edge_agent.cli import table
    from edge_agent.cli.outbox import file_of
    from edge_agent.cli.wording import local_time
    from edge_agent.outbox import inspect

    letters = inspect.dead_letters(file_of(path))
    if as_json:
        typer.echo(json.dumps(letters, ensure_ascii=False))
        return
    table.show(
        ("id", "noted", "publisher", "device", "class", "readings", "from", "reason"),
        (
            (
                letter["id"],
                local_time(letter["noted_ns"]),
                letter["publisher"],
                letter["device"],
                letter["class"],
                letter["readings"],
                local_time(letter["t_first_ns"]),
                letter["reason"],
            )
            for letter in letters
        ),
    )


@app.command("show")
def show_letter(path: Outbox, number: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Show one with its readings, as JSON. Works beside a running agent."""
    from edge_agent.cli.outbox import file_of
    from edge_agent.outbox import inspect

    letter = inspect.dead_letter(file_of(path), number)
    typer.echo(json.dumps(letter, ensure_ascii=False, indent=1, default=_hex))


@app.command("retry")
def retry(path: Outbox, ids: Ids = None, *, everything: All = False) -> None:
    """Put them back: they are sent when the agent starts. The agent must be stopped."""
    _change(path, ids, everything=everything, put_back=True)


@app.command("drop")
def drop(path: Outbox, ids: Ids = None, *, everything: All = False) -> None:
    """Give them up, which counts as a loss and is told to the publisher. The agent must be stopped."""
    _change(path, ids, everything=everything, put_back=False)


def _change(path: Path, ids: list[int] | None, *, everything: bool, put_back: bool) -> None:
    from edge_agent.cli.audit import recorded
    from edge_agent.cli.outbox import file_of
    from edge_agent.cli.wording import counted
    from edge_agent.clock import SystemClock
    from edge_agent.outbox.offline import change_dead_letters

    if bool(ids) == everything:
        raise typer.BadParameter("name them by their ids, or say --all")
    file, which = file_of(path), None if everything else ids
    act = f"outbox.dead-letter.{'retry' if put_back else 'drop'}"
    with recorded(file.parent if file.is_file() else file, act, ids="all" if which is None else which):
        count = change_dead_letters(file, which, put_back=put_back, now_ns=SystemClock().now_ns())
    typer.echo(f"{counted(count, 'dead letter')} {'put back' if put_back else 'dropped'}")
    if ids and count < len(ids):
        raise typer.Exit(1)


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
