# ruff: noqa: PLC0415 - a command imports what it needs, so that `edge-agent --help` stays quick
"""``edge-agent ids``: see, check and exchange identifier codes."""

import asyncio
import hashlib
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli import table
from edge_agent.cli.audit import recorded
from edge_agent.cli.exits import ExitCode
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edge_agent.identify.assign import Assignments
    from edge_agent.identify.exchange import Outcome
    from edge_agent.identify.options import IdentifierOptions

app = typer.Typer(
    no_args_is_help=True,
    help="Identifier codes: which object has which, what a node operator needs to know, what it answered.",
)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The agent's YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="For scripts: one JSON object.")]


@app.command()
def plan(config: Config, *, as_json: Json = False) -> None:
    """Show every object's code, its status and what the templates would change. Writes nothing."""
    codes = _read(config)
    if as_json:
        typer.echo(json.dumps(_as_json(codes), ensure_ascii=False))
    else:
        _print_table(codes)
        _print_problems(codes)
    if codes.problems:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def check(config: Config) -> None:
    """Exit 1 if a code is wrong, taken, or differs from what the templates say. Writes nothing."""
    codes = _read(config)
    drifted = codes.drift()
    _print_problems(codes)
    for drift in drifted:
        typer.echo(f"{drift.key}: has {drift.frozen}, the configuration says {drift.planned}", err=True)
    if codes.problems or drifted:
        raise typer.Exit(ExitCode.FAILED)
    typer.echo(f"{len(codes.plan.objects)} codes, nothing wrong, no drift")


@app.command()
def export(
    config: Config,
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table that Excel opens.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
) -> None:
    """Freeze all codes and write them out, for a node operator or for a box that replaces this one."""
    if as_csv == as_json:
        typer.echo("say --csv or --json", err=True)
        raise typer.Exit(ExitCode.WRONG_USAGE)
    from edge_agent.identify.exchange import export_csv, export_json
    from edge_agent.identify.plan import raise_all

    codes = _read(config)
    raise_all(codes.problems)
    with recorded(_options(config)[1].parent, "codes.export"):
        content = asyncio.run((export_csv if as_csv else export_json)(codes))
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        output.write_bytes(content)
    except OSError as exc:
        raise EdgeAgentError(f"{output}: {exc.strerror}") from exc


@app.command("import")
def import_(
    config: Config,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON: a reply, or an export.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
) -> None:
    """Take over a node operator's reply or another box's export: all of it, or nothing."""
    from edge_agent.clock import SystemClock
    from edge_agent.identify.exchange import import_file

    options, lock_path = _options(config)
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise EdgeAgentError(f"{file}: {exc.strerror}") from exc
    digest = hashlib.sha256(content).hexdigest()
    with nullcontext() if dry_run else recorded(lock_path.parent, "codes.import", file=str(file), sha256=digest):
        outcome = import_file(options, lock_path, content, clock=SystemClock(), dry_run=dry_run)
        _print_outcome(file, outcome, dry_run=dry_run)
        if outcome.problems:
            raise typer.Exit(ExitCode.FAILED)


def _options(config: Path) -> tuple["IdentifierOptions", Path]:
    """Return the ``identifiers:`` section and where the lock file is."""
    from edge_agent.config import load_local
    from edge_agent.identify.lockfile import FILE_NAME
    from edge_agent.registry import Registry

    options = load_local(config, Registry())
    if options.identifiers is None:
        raise EdgeAgentError(f"{config} has no identifiers: section, so no object has a code")
    return options.identifiers, options.outbox.directory / FILE_NAME


def _read(config: Path) -> "Assignments":
    from edge_agent.clock import SystemClock
    from edge_agent.identify.assign import Assignments

    options, lock_path = _options(config)
    codes = Assignments.read(options, lock_path, clock=SystemClock())
    for warning in codes.plan.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return codes


def _as_json(codes: "Assignments") -> dict[str, object]:
    drifted = {drift.key: drift.planned for drift in codes.drift()}
    return {
        "gateway": codes.gateway,
        "objects": [
            {
                "object": key,
                "handle": entry.handle,
                "status": entry.status.value,
                "frozen_at": entry.frozen_at,
                "retired_at": entry.retired_at,
                "message": entry.note,
                "drift": drifted.get(key),
            }
            for key, entry in codes.lock.items()
        ],
        "problems": [str(problem) for problem in codes.problems],
    }


def _print_table(codes: "Assignments") -> None:
    drifted = {drift.key: drift.planned for drift in codes.drift()}
    rows = [
        (
            key,
            entry.handle,
            entry.status.value
            + ("" if entry.frozen_at else ", not frozen")
            + (", removed" if entry.retired_at else ""),
            drifted.get(key, ""),
        )
        for key, entry in codes.lock.items()
    ]
    table.show(("object", "code", "status", "drift"), rows)


def _print_problems(codes: "Assignments") -> None:
    for problem in codes.problems:
        typer.echo(str(problem), err=True)


def _print_outcome(file: Path, outcome: "Outcome", *, dry_run: bool) -> None:
    for problem in outcome.problems:
        typer.echo(f"{file}:{problem.line or 1}: {problem.message}", err=True)
    if outcome.ignored:
        typer.echo(f"warning: columns without a meaning here: {', '.join(map(repr, outcome.ignored))}", err=True)
    if outcome.problems:
        typer.echo(f"nothing imported: {len(outcome.problems)} problems", err=True)
        return
    for change in outcome.changes:
        typer.echo(f"{change.key}\t{change.handle}\t{change.before or 'no code'} -> {change.after}")
    done = "would change" if dry_run else "changed"
    typer.echo(f"{done} {len(outcome.changes)}, as known {outcome.unchanged}")
