# ruff: noqa: PLC0415 - a command imports what it needs
"""What can be typed after ``edge-agent probe``."""

from pathlib import Path
from typing import Annotated

import typer


def probe(  # noqa: PLR0913 - each is an option
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help="modbus.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="HOST, HOST:PORT, [IPV6]:PORT, or a serial port as /dev/ttyUSB0."),
    ],
    *,
    units: Annotated[
        str,
        typer.Option(
            metavar="LIST", help="Unit numbers, as 1..10,20; default: 0..16,255, or 1..16 on a serial port."
        ),
    ] = "",
    know: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS=VALUE",
            help="A value that you know, as register:40010=230.5, holding:9=…, input:, coil:, discrete:; finds "
            "type, byte order, scale and true address. May be repeated.",
        ),
    ] = None,
    tolerance: Annotated[
        str, typer.Option(metavar="AMOUNT", help="How far a value may have moved: 5%, or 0.5. Default: 1%.")
    ] = "",
    addresses: Annotated[
        str, typer.Option(metavar="FIRST..LAST", help="Where to look for what can be read; default: 0..65535.")
    ] = "",
    ranges: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="usual: from likely addresses on; thorough: every address, which takes long; none. "
            "Default: usual.",
        ),
    ] = "",
    timeout: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="Longest wait for an answer; default: 1s, on a serial port by its speed."
        ),
    ] = "",
    transport: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="tcp (the default), udp, or for a gateway that passes bytes on: rtu_over_tcp, ascii_over_tcp.",
        ),
    ] = "",
    baud_rates: Annotated[
        str, typer.Option(metavar="LIST", help="Of a serial port, tried in this order; default: all common ones.")
    ] = "",
    parities: Annotated[
        str, typer.Option(metavar="LIST", help="none, even, odd, tried in this order; default: all three.")
    ] = "",
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what fits as a configuration. Needs --know.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(metavar="CONFIG", help="The running agent's YAML file; default: that of the service."),
    ] = None,
    socket: Annotated[Path | None, typer.Option(metavar="PATH", help="Its control socket, instead.")] = None,
    second_client: Annotated[
        bool,
        typer.Option(
            "--second-client",
            help="Connect beside the running agent even if it holds the line; many devices allow one client only.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: JSON.")] = False,
) -> None:
    """Find out what is at an address: units, who they are, what can be read, how known values are kept there.

    Only reads. Where the running agent holds the line, it passes the requests on, and goes on collecting.
    """
    from edge_agent.cli.probe import probe as run_probe
    from edge_agent.cli.probe import socket_for

    written = {
        "units": units,
        "tolerance": tolerance,
        "addresses": addresses,
        "ranges": ranges,
        "timeout": timeout,
        "transport": transport,
        "baud-rates": baud_rates,
        "parities": parities,
    }
    raise typer.Exit(
        run_probe(
            protocol,
            target,
            {name: [text] for name, text in written.items() if text} | ({"know": know} if know else {}),
            agent_socket=None if second_client else socket_for(config, socket),
            write=write,
            is_forced=force,
            as_json=as_json,
        )
    )
