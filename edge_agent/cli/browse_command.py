# ruff: noqa: PLC0415 - a command imports what it needs
"""What can be typed after ``edge-agent browse``."""

from pathlib import Path
from typing import Annotated

import typer


def browse(  # noqa: PLR0913 - each is an option
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help="opcua.")],
    address: Annotated[
        str, typer.Argument(metavar="[ADDRESS]", help="opc.tcp://host:port of a server that lets anyone look.")
    ] = "",
    *,
    config: Annotated[
        Path | None,
        typer.Option(metavar="CONFIG", help="Instead of ADDRESS, a YAML file with a device that can connect."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="ID", help="The device in CONFIG.")] = "",
    glob: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="GLOB",
            help="Only points whose path matches, such as '*/Spindle/*'; in any case. May be repeated.",
        ),
    ] = None,
    start: Annotated[
        str, typer.Option("--from", metavar="NODE", help="Begin at this node, such as 'nsu=…;s=Machine'.")
    ] = "",
    most: Annotated[int, typer.Option(min=1, metavar="N", help="Look into so many nodes at most.")] = 1_000_000,
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Only what is known of this kind of device, by its name: machine-tool, sinumerik."
        ),
    ] = "",
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="Write them as a configuration.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: a line of JSON for each.")] = False,
) -> None:
    """List what a device offers as points: name, address, type, unit, present value. Only reads."""
    from edge_agent.cli.browse import Interest, Target
    from edge_agent.cli.browse import browse as run_browse

    if (config is None) == (not address):
        raise typer.BadParameter("write an ADDRESS, or --config and --device")
    if (config is None) != (not device):
        raise typer.BadParameter("--config and --device go together")
    raise typer.Exit(
        run_browse(
            Target(protocol, address, config, device),
            Interest(glob or [], start, most, profile),
            write=write,
            is_forced=force,
            as_json=as_json,
        )
    )
