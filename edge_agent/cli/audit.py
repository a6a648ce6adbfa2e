# ruff: noqa: PLC0415 - a command imports what it needs, so that `edge-agent version` is quick
"""``edge-agent audit``: who did what to the agent, and whether the record of it is whole."""

import json
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.exits import ExitCode

if TYPE_CHECKING:
    from edge_agent.audit.chain import Head, Verdict
    from edge_agent.audit.log import AuditLog

app = typer.Typer(no_args_is_help=True, help="Who did what to the agent, and whether the record of it is whole.")

Place = Annotated[Path, typer.Argument(metavar="PATH", help="The agent's YAML file, or its state directory.")]
Json = Annotated[bool, typer.Option("--json", help="For scripts: JSON.")]


@app.command()
def show(
    path: Place,
    *,
    limit: Annotated[int, typer.Option(min=1, help="At most so many entries, the newest.")] = 100,
    as_json: Json = False,
) -> None:
    """Show the newest entries. Works beside a running agent."""
    from edge_agent.cli import table

    entries = deque(_log_at(path).entries(), maxlen=limit)
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in entries], ensure_ascii=False))
        return
    table.show(
        ("entry", "time (UTC)", "who", "act", "outcome", "about"),
        (
            (
                entry.seq,
                entry.time.partition(".")[0].replace("T", " "),
                _who(entry.actor.uid, entry.actor.sudo_user),
                entry.act,
                entry.outcome,
                _printable(", ".join(f"{key} {value}" for key, value in entry.about.items())),
            )
            for entry in entries
        ),
    )


@app.command()
def verify(
    path: Place,
    *,
    head: Annotated[
        str,
        typer.Option(
            metavar="SEQUENCE:HASH",
            help="A head that the gateway told outside (health message, /status): is the end cut off?",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Say whether any entry was changed, removed or moved, and where; exit code 1 if so."""
    from edge_agent.audit import chain

    try:
        known = chain.Head.parse(head) if head else None
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--head") from exc
    log = _log_of(_state_of(path)) if known else _log_at(path)  # with a head, its absence is the finding
    verdict = chain.verify(log.lines(), known)
    if as_json:
        body = asdict(verdict) | {"ok": not verdict.breaks, "head": str(verdict.head)}
        typer.echo(json.dumps(body, ensure_ascii=False))
    else:
        _print(verdict, known)
    if verdict.breaks:
        raise typer.Exit(ExitCode.FAILED)


@contextmanager
def recorded(state: Path, act: str, **about: object) -> Iterator[None]:
    """Record in the audit log of ``state`` what a command does, before and after; nothing where there is no state.

    Raises:
        AuditError: it cannot be recorded; before it began: then it is not done.
    """
    if not state.is_dir():
        yield
        return
    from edge_agent.audit.chain import Actor

    actor = Actor(os.getuid(), os.getpid(), sudo_user())
    with _log_of(state).act(act, actor, about):
        yield


def sudo_user() -> str:
    """Return who became root for this command, as sudo says."""
    return os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""


def _log_at(path: Path) -> "AuditLog":
    """Return the log that ``path`` leads to.

    Raises:
        AuditError: there is none: neither was an agent started there, nor is anything verified.
    """
    from edge_agent.audit.log import AuditError

    state = _state_of(path)
    log = _log_of(state)
    if next(log.lines(), None) is None:
        raise AuditError(f"there is no audit log in {state}: no agent has run there, or somebody removed it")
    return log


def _log_of(state: Path) -> "AuditLog":
    from edge_agent.audit.log import AuditLog
    from edge_agent.clock import SystemClock

    return AuditLog(state, SystemClock())


def _state_of(path: Path) -> Path:
    from edge_agent.config import load_local
    from edge_agent.registry import Registry

    return path if path.is_dir() else load_local(path, Registry()).outbox.directory


def _print(verdict: "Verdict", known: "Head | None") -> None:
    for one in verdict.breaks:
        typer.echo(f"{one.place}: {one.message}", err=True)
    if verdict.breaks:
        typer.echo("the audit log is not as it was written", err=True)
        return
    if verdict.first > 1:
        typer.echo(f"entries 1 to {verdict.first - 1} were deleted to make room, as an entry tells")
    if verdict.mended or verdict.ends_torn:
        typer.echo(f"{verdict.mended + verdict.ends_torn} torn by a power cut")
    ends = "" if known else "; whether the end is cut off, only a head from outside can show: --head"
    typer.echo(f"{verdict.entries} entries, nothing changed, removed or moved{ends}")
    typer.echo(f"head {verdict.head}")


def _printable(text: str) -> str:
    """What somebody made the agent record does not command the terminal of who looks at it."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _who(uid: int, sudo_name: str) -> str:
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return _printable(f"{name} (sudo: {sudo_name})" if sudo_name else name)
