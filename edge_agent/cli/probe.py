"""``edge-agent probe``: finds out what is at an address, and writes the configuration."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import typer

from edge_agent.cli import table
from edge_agent.cli.agent_lines import agent_lines
from edge_agent.cli.control import socket_of
from edge_agent.cli.device_file import check_writable, write_devices
from edge_agent.cli.exits import ExitCode
from edge_agent.cli.progress import open_progress
from edge_agent.clock import SystemClock
from edge_agent.errors import ProbeError
from edge_agent.probing import HeldLine, ProbeReport, ProberSpec, Probing
from edge_agent.registry import Registry

NAMES = "The names are made of addresses: give better ones, and units."


def probe(
    protocol: str,
    target: str,
    settings: Mapping[str, Sequence[str]],
    *,
    agent_socket: Path | None,
    write: Path | None,
    is_forced: bool,
    as_json: bool,
) -> ExitCode:
    """Probe ``target`` and tell what was found.

    Args:
        protocol: of the driver that probes.
        target: as the driver understands it.
        settings: for the driver, by the name of the option, as written.
        agent_socket: of the agent whose lines are used; None: none is asked.
        write: the file that gets the configuration.
        is_forced: whether it may be there.
        as_json: for scripts.

    Raises:
        EdgeAgentError: it cannot be done; the message says what to change.
    """
    spec = Registry().load(protocol).prober
    if spec is None:
        raise ProbeError(f"the driver {protocol} cannot probe; modbus can")
    if write is not None:
        if not settings.get("know"):
            raise ProbeError("--write needs --know: without a known value nobody can say what registers mean")
        check_writable(write, is_forced=is_forced)
    try:
        with open_progress() as tell:
            report = asyncio.run(_run(spec(), protocol, target, settings, agent_socket, tell))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    if as_json:
        typer.echo(json.dumps(report.body, ensure_ascii=False))
    else:
        _show(report)
    if write is not None:
        if not report.devices:
            raise ProbeError(f"{write} is not written: no unit fits all that is known")
        origin = f"Found by `edge-agent probe {protocol} {target}`. {NAMES}"
        write_devices(write, report.devices, origin, is_forced=is_forced)
        typer.echo(f"written: {write}; next: edge-agent check {write} --plan", err=True)
    return ExitCode.DONE if report.is_success else ExitCode.FAILED


def socket_for(config: Path | None, control_socket: Path | None) -> Path:
    """Return the control socket to ask; without any wish that of the service."""
    return control_socket or socket_of(config)


async def _run(
    spec: ProberSpec,
    protocol: str,
    target: str,
    settings: Mapping[str, Sequence[str]],
    agent_socket: Path | None,
    tell: Callable[[str, float], None],
) -> ProbeReport:
    lines: AbstractAsyncContextManager[tuple[HeldLine, ...]] = (
        nullcontext(()) if agent_socket is None else agent_lines(agent_socket, protocol)
    )
    async with lines as held:
        return await spec.run(target, settings, Probing(SystemClock(), held, tell, agent_socket is None))


def _show(report: ProbeReport) -> None:
    for found in report.tables:
        typer.echo(found.title)
        table.show(found.header, found.rows)
        typer.echo("")
    for note in report.notes:
        table.note(note)
