"""``edge-agent status``: asks the running agent over its control socket."""

import json
from pathlib import Path
from typing import Any

import typer

from edge_agent.cli import table
from edge_agent.cli.control import get_status, socket_of
from edge_agent.cli.devices import print_devices
from edge_agent.cli.wording import ago, counted, local_date, size


def show_status(config: Path | None, control_socket: Path | None, *, as_json: bool) -> None:
    """Print what the agent says of itself.

    Raises:
        EdgeAgentError: no agent answers there.
    """
    status = get_status(control_socket or socket_of(config))
    if as_json:
        typer.echo(json.dumps(status, ensure_ascii=False))
    else:
        _print_agent(status)


def _print_agent(status: dict[str, Any]) -> None:
    now_ns = status["now_ns"]
    about = [f"gateway {status['gateway']}", f"edge-agent {status['version']}"]
    about += [f"code {status['code']}"] if status["code"] else []
    about += [f"up {ago(status['started_ns'], now_ns)}", f"config {status['config']['file']}"]
    typer.echo(", ".join(about))
    for setting in status["insecure"]:
        typer.echo(f"warning: insecure setting {setting}", err=True)
    for one in status["certificates"]:
        verb = "ends" if one["ends_ns"] > now_ns else "has ended"
        told = f"{one['device']}: the {one['certificate']} certificate {verb} {local_date(one['ends_ns'])}"
        typer.echo(f"warning: {told}; {one['remedy']}", err=True)
    print_devices(status)
    outbox = status["outbox"]
    pending = outbox["pending"] if outbox else {}
    table.show(
        ("publisher", "broker", "state", "in flight", "acknowledged", "refused", "rows to send", "replay"),
        (_publisher_row(publisher, pending) for publisher in status["publishers"]),
    )
    table.notes((it["id"], it["last_error"]) for it in status["publishers"] if not it["connected"])
    typer.echo(_outbox_line(outbox))


def _publisher_row(publisher: dict[str, Any], pending: dict[str, int]) -> tuple[object, ...]:
    return (
        publisher["id"],
        publisher["server"],
        "connected" if publisher["connected"] else "not connected",
        publisher["in_flight"],
        publisher["acknowledged"],
        publisher["refused"],
        pending.get(publisher["id"]),
        _replay(publisher["replay"]) if publisher["connected"] else "",
    )


def _replay(replay: dict[str, Any]) -> str:
    if not replay["pending_readings"]:
        return ""
    eta_s = replay["eta_s"]
    return "stands still" if eta_s is None else f"{ago(0, round(eta_s * 1e9))} to go"


def _outbox_line(outbox: dict[str, Any] | None) -> str:
    if outbox is None:
        return "outbox: not open yet"
    kept = f"{counted(outbox['rows'], 'row')} in {size(outbox['size_bytes'])} of {size(outbox['max_bytes'])}"
    lost = sum(outbox["lost"].values())
    told = f", {counted(lost, 'reading')} lost since the start" if lost else ""
    trouble = f", trouble: {outbox['trouble']}" if outbox["trouble"] else ""
    return f"outbox: {kept}, {counted(outbox['buffered'], 'reading')} not on disk yet{told}{trouble}"
