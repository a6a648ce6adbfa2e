"""``edge-agent status``: asks the running agent over its control socket."""

import json
from pathlib import Path
from typing import Any

import typer

from edge_agent.cli import table
from edge_agent.cli.control import get_status, socket_of
from edge_agent.cli.wording import ago, counted, local_time, reading_value, size
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Quality


def show_status(config: Path | None, control_socket: Path | None, device: str, *, as_json: bool) -> None:
    """Print what the agent says of itself.

    Raises:
        EdgeAgentError: no agent answers there, or it has no such device.
    """
    status = get_status(control_socket or socket_of(config))
    if device:
        found = [entry for entry in status["devices"] if entry["id"] == device]
        if not found:
            known = ", ".join(entry["id"] for entry in status["devices"])
            raise EdgeAgentError(f"the agent has no device {device!r}; it has {known}")
        status = found[0]
    if as_json:
        typer.echo(json.dumps(status, ensure_ascii=False))
    elif device:
        _print_device(status)
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
    table.show(
        ("device", "driver", "state", "for", "points", "not good", "last value"),
        (_device_row(device, now_ns) for device in status["devices"]),
    )
    table.notes((device["id"], device.get("reason")) for device in status["devices"])
    table.notes((device["id"], remark) for device in status["devices"] for remark in device.get("remarks", ()))
    outbox = status["outbox"]
    pending = outbox["pending"] if outbox else {}
    table.show(
        ("publisher", "broker", "state", "in flight", "acknowledged", "refused", "rows to send", "replay"),
        (_publisher_row(publisher, pending) for publisher in status["publishers"]),
    )
    table.notes((it["id"], it["last_error"]) for it in status["publishers"] if not it["connected"])
    typer.echo(_outbox_line(outbox))


def _device_row(device: dict[str, Any], now_ns: int) -> tuple[object, ...]:
    points = device.get("points", [])
    last_ns = max((point["time_ns"] for point in points if point["value"] is not None), default=0)
    return (
        device["id"],
        device.get("driver"),
        device["phase"],
        ago(device["since_ns"], now_ns) if "since_ns" in device else "",
        len(points),
        sum(point["quality"] != Quality.GOOD.name for point in points),
        f"{ago(last_ns, now_ns)} ago" if last_ns else "",
    )


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


def _print_device(device: dict[str, Any]) -> None:
    about = [device["id"], device.get("driver"), device.get("name"), device.get("code"), device["phase"]]
    typer.echo(", ".join(word for word in (*about, device.get("reason")) if word))
    table.notes((device["id"], remark) for remark in device.get("remarks", ()))
    table.show(
        ("point", "value", "unit", "quality", "time"),
        (
            (
                point["name"],
                reading_value(point["value"]),
                point["unit"],
                point["quality"],
                local_time(point["time_ns"]),
            )
            for point in device.get("points", [])
        ),
    )
