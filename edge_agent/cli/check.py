"""``edge-agent check``."""

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from edge_agent.cli import table
from edge_agent.cli.exits import ExitCode, lines
from edge_agent.cli.plan import DevicePlan, advice, line_loads, load_as_json, print_plans
from edge_agent.cli.wording import counted
from edge_agent.clock import SystemClock
from edge_agent.collect.load import LineLoad
from edge_agent.config import AgentOptions, Problem
from edge_agent.config import load as load_config
from edge_agent.errors import ConfigError, DriverError, DriverLoadError, EdgeAgentError
from edge_agent.identify.assign import Assignments
from edge_agent.identify.lockfile import FILE_NAME
from edge_agent.registry import Registry


def check_config(path: Path, *, with_plan: bool, as_json: bool) -> ExitCode:
    """Print every problem of the file at ``path``, or what it amounts to.

    Raises:
        IdentifierError: the lock file of identifier codes cannot be read.
    """
    try:
        options = load_config(path, Registry())
        plans = [DevicePlan.of(device) for device in options.devices]
        codes = _codes(options)
    except (ConfigError, DriverLoadError, DriverError) as exc:
        if as_json:
            typer.echo(json.dumps({"ok": False, "problems": _problems(exc)}, ensure_ascii=False))
        else:
            for line in lines(exc):
                typer.echo(line, err=True)
        return ExitCode.BAD_CONFIG
    loads = line_loads(plans)
    if as_json:
        typer.echo(json.dumps(_as_json(options, plans, codes, loads), ensure_ascii=False))
    else:
        _print_summary(options, plans, codes)
        if with_plan:
            print_plans(plans, loads)
        for load in loads:
            if load.late:
                typer.echo(f"warning: {advice(load)}", err=True)
    return ExitCode.DONE


def _codes(options: AgentOptions) -> Assignments | None:
    if options.identifiers is None:
        return None
    codes = Assignments.read(options.identifiers, options.outbox.directory / FILE_NAME, clock=SystemClock())
    if codes.problems:
        raise ConfigError(codes.problems)
    return codes


def _problems(error: EdgeAgentError) -> list[dict[str, object]]:
    problems: Sequence[object] = error.problems if isinstance(error, ConfigError) else [error]
    return [
        {key: getattr(problem, key) for key in ("file", "line", "column", "path", "message")}
        if isinstance(problem, Problem)
        else {"message": str(problem)}
        for problem in problems
    ]


def _as_json(
    options: AgentOptions, plans: list[DevicePlan], codes: Assignments | None, loads: list[LineLoad]
) -> dict[str, object]:
    return {
        "ok": True,
        "problems": [],
        "file": str(options.source),
        "hash": options.digest,
        "gateway": options.gateway,
        "insecure": list(options.insecure),
        "codes": None if codes is None else {"gateway": codes.gateway_code(), "count": len(codes.plan.objects)},
        "publishers": [publisher.id for publisher in options.publishers],
        "devices": [
            {
                "id": plan.options.id,
                "driver": plan.options.spec.protocol,
                "points": len(plan.options.table.points),
                "reported": plan.reported,
                "code": codes.device_code(plan.options.id) if codes else None,
                "plan": plan.as_json(),
            }
            for plan in plans
        ],
        "lines": [load_as_json(load) for load in loads],
    }


def _print_summary(options: AgentOptions, plans: list[DevicePlan], codes: Assignments | None) -> None:
    table.show(
        ("device", "driver", "points", "requests", "per second", "code"),
        (
            (
                plan.options.id,
                plan.options.spec.protocol,
                len(plan.options.table.points),
                plan.requests,
                f"{sum(len(requests) / interval_s for interval_s, requests in plan.polls):.3g}",
                codes.device_code(plan.options.id) if codes else "",
            )
            for plan in plans
        ),
    )
    for plan in plans:
        if not plan.options.table.points:
            typer.echo(
                f"{plan.options.id}: its points are those that it has; none is known before it was connected"
            )
    devices = counted(len(plans), "device")
    points = counted(sum(len(plan.options.table.points) for plan in plans), "point")
    publishers = ", ".join(publisher.id for publisher in options.publishers) or "none, readings stay on disk"
    typer.echo(f"gateway {options.gateway}: {devices}, {points}; publishers: {publishers}")
    if codes is None:
        typer.echo("identifier codes: none, there is no identifiers: section")
    else:
        typer.echo(f"identifier codes: {len(codes.plan.objects)}, the gateway's is {codes.gateway_code()}")
        for warning in codes.plan.warnings:
            typer.echo(f"warning: {warning}", err=True)
    for setting in options.insecure:
        typer.echo(f"warning: insecure setting {setting}", err=True)
    typer.echo(f"{options.source}: nothing wrong")
