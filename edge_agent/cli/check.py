"""``edge-agent check``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from edge_agent.cli import table
from edge_agent.cli.exits import ExitCode, lines
from edge_agent.cli.wording import counted
from edge_agent.clock import SystemClock
from edge_agent.collect.context import planning_context
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.schedule import by_interval
from edge_agent.config import AgentOptions, Problem, load
from edge_agent.driver import Request
from edge_agent.errors import ConfigError, DriverError, DriverLoadError, EdgeAgentError
from edge_agent.identify.assign import Assignments
from edge_agent.identify.lockfile import FILE_NAME
from edge_agent.model.quantity import format_duration
from edge_agent.registry import Registry


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What one device would be asked.

    Attributes:
        polls: interval in seconds and the exchanges that it takes.
        reported: number of points that the device reports by itself.
    """

    options: DeviceOptions
    polls: tuple[tuple[float, tuple[Request, ...]], ...]
    reported: int

    @property
    def requests(self) -> int:
        """Number of exchanges, each interval once."""
        return sum(len(requests) for _, requests in self.polls)


def check_config(path: Path, *, with_plan: bool, as_json: bool) -> ExitCode:
    """Print every problem of the file at ``path``, or what it amounts to.

    Raises:
        IdentifierError: the lock file of identifier codes cannot be read.
    """
    try:
        options = load(path, Registry())
        plans = [_plan(device) for device in options.devices]
        codes = _codes(options)
    except (ConfigError, DriverLoadError, DriverError) as exc:
        if as_json:
            typer.echo(json.dumps({"ok": False, "problems": _problems(exc)}, ensure_ascii=False))
        else:
            for line in lines(exc):
                typer.echo(line, err=True)
        return ExitCode.BAD_CONFIG
    if as_json:
        typer.echo(json.dumps(_as_json(options, plans, codes), ensure_ascii=False))
    else:
        _print_summary(options, plans, codes)
        if with_plan:
            _print_plans(plans)
    return ExitCode.DONE


def _plan(options: DeviceOptions) -> DevicePlan:
    """Plan as a session that has learned nothing yet.

    Raises:
        DriverError: the driver refuses the device as it is configured.
    """
    try:
        device = options.spec.create(planning_context(options.id), options.config)
        polls = tuple(
            (interval_s, tuple(device.plan(points, set())))
            for interval_s, points in by_interval(device.polled, options.intervals_s)
        )
    except DriverError as exc:
        raise DriverError(f"device {options.id}: {exc}") from exc
    return DevicePlan(options, polls, len(device.reported))


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


def _as_json(options: AgentOptions, plans: list[DevicePlan], codes: Assignments | None) -> dict[str, object]:
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
                "plan": [
                    {"interval_s": interval_s, "requests": [_request_json(plan, request) for request in requests]}
                    for interval_s, requests in plan.polls
                ],
            }
            for plan in plans
        ],
    }


def _request_json(plan: DevicePlan, request: Request) -> dict[str, object]:
    names = plan.options.table.names
    return {"request": str(request), "points": [names[index] for index in request.points]}


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


def _print_plans(plans: list[DevicePlan]) -> None:
    for plan in plans:
        if plan.reported:
            typer.echo(f"\n{plan.options.id}: {counted(plan.reported, 'point')} reported by the device")
        for interval_s, requests in plan.polls:
            count = counted(len(requests), "request")
            typer.echo(f"\n{plan.options.id} every {format_duration(interval_s)}: {count}")
            for request in requests:
                typer.echo(f"  {request}")
