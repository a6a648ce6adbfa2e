# ruff: noqa: PLC0415 - a command imports what it needs, so that `edge-agent version` is quick
"""What can be typed after ``edge-agent``."""

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import audit, dead_letter, ids, opcua
from edge_agent.cli.browse_command import browse
from edge_agent.cli.probe_command import probe

app = typer.Typer(
    name="edge-agent",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Connects factory machines to the cloud and loses no reading on the way.",
)
outbox_app = typer.Typer(no_args_is_help=True, help="Look into the outbox: what waits, and what is in it.")
app.add_typer(outbox_app, name="outbox")
outbox_app.add_typer(dead_letter.app, name="dead-letter")
app.add_typer(ids.app, name="ids")
app.add_typer(opcua.app, name="opcua")
app.add_typer(audit.app, name="audit")

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The agent's YAML file.")]
Outbox = Annotated[
    Path, typer.Argument(metavar="PATH", help="The agent's YAML file, its state directory, or an outbox.db.")
]
Json = Annotated[bool, typer.Option("--json", help="For scripts: JSON.")]
Running = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="Ask the agent that runs with this YAML file.")
]
Socket = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Its control socket; default: that of CONFIG, or of the service."),
]


@app.command()
def run(
    config: Config,
    *,
    last_good: Annotated[
        bool, typer.Option("--last-good", help="If CONFIG is broken, run the last configuration that ran.")
    ] = False,
) -> None:
    """Run the agent until SIGTERM or Ctrl-C; a second one ends it at once. SIGHUP reloads CONFIG."""
    from edge_agent.cli.run import run_agent

    raise typer.Exit(run_agent(config, may_use_last_good=last_good))


@app.command()
def check(
    config: Config,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Print each exchange that would go over the wire.")] = False,
    as_json: Json = False,
) -> None:
    """Read the configuration and say everything that is wrong with it, or what it amounts to.

    Connects to nothing and writes nothing.
    """
    from edge_agent.cli.check import check_config

    raise typer.Exit(check_config(config, with_plan=plan, as_json=as_json))


@app.command()
def status(
    config: Running = None,
    *,
    socket: Socket = None,
    as_json: Json = False,
) -> None:
    """Show the running agent: devices, outbox, publishers."""
    from edge_agent.cli.status import show_status

    show_status(config, socket, as_json=as_json)


@app.command()
def reload(
    config: Running = None,
    *,
    socket: Socket = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let the running agent take up its changed configuration; what did not change goes on undisturbed.

    If anything is wrong with the file, nothing changes.
    """
    from edge_agent.cli.reload import reload_agent

    raise typer.Exit(reload_agent(config, socket, is_trial=dry_run, as_json=as_json))


@app.command()
def devices(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Show this one: values, requests, and what was learned of it.")
    ] = "",
    *,
    config: Annotated[
        Path | None, typer.Option(metavar="CONFIG", help="Ask the agent that runs with this YAML file.")
    ] = None,
    socket: Socket = None,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Forget what NAME refuses and what was learned of it: it is searched anew."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the devices of the running agent, or all that it knows of one."""
    from edge_agent.cli import devices as device

    if forget and not name:
        raise typer.BadParameter("needs the NAME of a device", param_hint="--forget")
    if forget:
        device.forget(config, socket, name, as_json=as_json)
    elif name:
        device.show_device(config, socket, name, as_json=as_json)
    else:
        device.show_devices(config, socket, as_json=as_json)


@app.command()
def drivers(
    protocol: Annotated[
        str, typer.Argument(metavar="[PROTOCOL]", help="Load this one and show its configuration keys.")
    ] = "",
    *,
    drivers_path: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="Look into this folder, too. May be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the installed drivers, without loading any."""
    from edge_agent.cli.drivers import list_drivers, show_driver

    if protocol:
        show_driver(protocol, drivers_path or [], as_json=as_json)
    else:
        list_drivers(drivers_path or [], as_json=as_json)


@app.command()
def schema(
    *,
    drivers_path: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="Drivers of this folder, too. May be repeated.")
    ] = None,
) -> None:
    """Print the JSON Schema of the configuration, for editors; covers the installed drivers."""
    import json

    from edge_agent.config.json_schema import schema as schema_of
    from edge_agent.registry import Registry

    typer.echo(json.dumps(schema_of(Registry(drivers_path or [])), indent=1, ensure_ascii=False))


@outbox_app.command("status")
def outbox_status(path: Outbox, *, as_json: Json = False) -> None:
    """Show how much is kept and how much each publisher still has to send. Works beside a running agent."""
    from edge_agent.cli.outbox import show_status

    show_status(path, as_json=as_json)


@outbox_app.command("show")
def outbox_show(
    path: Outbox,
    *,
    device: Annotated[str, typer.Option(metavar="ID", help="Only this device.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """Show readings that are kept. Works beside a running agent."""
    from edge_agent.cli.outbox import show_rows

    show_rows(path, device, limit, as_json=as_json)


@outbox_app.command("losses")
def outbox_losses(
    path: Outbox,
    *,
    days: Annotated[
        bool, typer.Option("--days", help="How complete each day of each device is, instead.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="ID", help="Only this device.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many entries, the newest.")] = 100,
    as_json: Json = False,
) -> None:
    """Show what was lost: from when to when, how much, for whom, and why. Works beside a running agent."""
    from edge_agent.cli.outbox import show_days, show_losses

    if days:
        show_days(path, device, as_json=as_json)
    else:
        show_losses(path, device, limit, as_json=as_json)


@outbox_app.command("salvage")
def outbox_salvage(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A damaged outbox that was set aside: the folder it is in.")
    ],
    into: Outbox,
    *,
    as_json: Json = False,
) -> None:
    """Put what can be read of a damaged outbox into a sound one. The agent that uses it must be stopped.

    A running agent salvages what it sets aside by itself; this is for a folder from elsewhere. The folder stays.
    """
    from edge_agent.cli.salvage import salvage_folder

    salvage_folder(folder, into, as_json=as_json)


@outbox_app.command("export")
def outbox_export(
    path: Outbox,
    *,
    jsonl: Annotated[bool, typer.Option("--jsonl/--csv", help="JSON Lines, or CSV (the default).")] = False,
    device: Annotated[str, typer.Option(metavar="ID", help="Only this device.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file; default: standard output.")
    ] = None,
) -> None:
    """Write every reading that is kept, a line each. Works beside a running agent and does not hold it up."""
    from edge_agent.cli.export import export

    export(path, device, output, as_lines=jsonl)


@app.command()
def demo(
    *,
    seconds: Annotated[
        float | None, typer.Option(min=1, metavar="N", help="Collect for so long; default: until Ctrl-C.")
    ] = None,
    as_json: Json = False,
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="mqtt://host:port to use instead of the built-in broker.")
    ] = None,
) -> None:
    """Run against a simulated plant on this machine, and count what arrives."""
    from edge_agent.demo import run_demo

    raise typer.Exit(run_demo(seconds, as_json, broker))


@app.command()
def simulate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An agent's YAML file, or a copy of it with signals and faults.")
    ],
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Listen here; default: on loopback, for this computer alone.")
    ] = "",
    port_base: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="The first address gets this port, each further one the next; 0: free ones.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Another number, other signals and faults; the same, the same.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Stand in for the Modbus devices of FILE until Ctrl-C: with moving values, and faults if it has any."""
    from edge_agent.cli.simulate import simulate as run_simulation

    raise typer.Exit(run_simulation(file, host=host, port_base=port_base, seed=seed, as_json=as_json))


@app.command()
def doctor(
    config: Config,
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a support archive (tar.gz), too, without secrets."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at everything that an agent needs on this box, and say what to do; exit code 1 if anything fails.

    Logs in at each broker that the running agent has no session with, writes a few KiB into the state directory.
    """
    from edge_agent.cli.doctor import examine

    raise typer.Exit(examine(config, bundle, as_json=as_json))


Passphrase = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="PATH", help="Take the passphrase from this file instead of asking."
    ),
]


@app.command()
def backup(
    config: Config,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, readable for you alone.")],
    *,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Ask for a passphrase and encrypt it.")] = False,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Save what a box needs that replaces this one: configuration, codes, certificates, keys, trust, audit log.

    No readings. Private keys and passwords are in it: encrypt it, or keep it like them. Works beside a running
    agent.
    """
    from edge_agent.cli.backup import back_up

    back_up(config, file, encrypts=encrypt, passphrase_file=passphrase_file, as_json=as_json)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `edge-agent backup` wrote.")],
    *,
    into: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Put everything below this folder instead of where it was.")
    ] = Path("/"),
    passphrase_file: Passphrase = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there and differ.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup back where its files were. The agent must be stopped.

    New readings get an epoch of their own; those that this box still has to send stay as they are.
    """
    from edge_agent.cli.backup import put_back

    put_back(file, root=into, passphrase_file=passphrase_file, forces=force, dry_run=dry_run, as_json=as_json)


app.command()(probe)
app.command()(browse)


@app.command()
def version(*, as_json: Json = False) -> None:
    """Print the version."""
    from edge_agent import __version__

    if not as_json:
        typer.echo(f"edge-agent {__version__}")
        return
    import json
    import platform
    import sqlite3

    body = {
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "platform": platform.platform(),
    }
    typer.echo(json.dumps(body))
