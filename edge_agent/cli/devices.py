"""``edge-agent devices``: what the running agent knows of its devices, asked for over its control socket."""

import json
from pathlib import Path
from typing import Any

import typer

from edge_agent.cli import table
from edge_agent.cli.control import act, get_status, socket_of
from edge_agent.cli.wording import ago, counted, local_time, reading_value
from edge_agent.model import Quality


def show_devices(config: Path | None, control_socket: Path | None, *, as_json: bool) -> None:
    """Print all devices.

    Raises:
        EdgeAgentError: no agent answers there.
    """
    status = get_status(control_socket or socket_of(config))
    if as_json:
        typer.echo(json.dumps({"devices": status["devices"]}, ensure_ascii=False))
    else:
        print_devices(status)


def print_devices(status: dict[str, Any]) -> None:
    """Print the devices of ``/status``: a table, and a line for each thing that is to be said."""
    now_ns = status["now_ns"]
    table.show(
        ("device", "driver", "state", "for", "points", "not good", "last value"),
        (_row(device, now_ns) for device in status["devices"]),
    )
    table.notes((device["id"], device.get("reason")) for device in status["devices"])
    table.notes((device["id"], remark) for device in status["devices"] for remark in device.get("remarks", ()))


def show_device(config: Path | None, control_socket: Path | None, device: str, *, as_json: bool) -> None:
    """Print all that is known of one device.

    Raises:
        EdgeAgentError: no agent answers there, or it has no such device.
    """
    known = act(control_socket or socket_of(config), "device", {"device": device})
    if as_json:
        typer.echo(json.dumps(known, ensure_ascii=False))
    else:
        _print_device(known)


def forget(config: Path | None, control_socket: Path | None, device: str, *, as_json: bool) -> None:
    """Let the agent forget what it learned of one device.

    Raises:
        EdgeAgentError: no agent answers there, or it has no such device.
    """
    forgotten = act(control_socket or socket_of(config), "forget", {"device": device})
    if as_json:
        typer.echo(json.dumps(forgotten, ensure_ascii=False))
        return
    things = (
        counted(forgotten["refused"], "refused point"),
        counted(forgotten["silent"], "silent exchange"),
        counted(len(forgotten["learned"]), "learned thing"),
        *(["the points that it said it has"] if forgotten["found"] else []),
    )
    typer.echo(f"{device}: forgot {', '.join(things)}; the next poll asks for everything again")


def _row(device: dict[str, Any], now_ns: int) -> tuple[object, ...]:
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


def _print_device(device: dict[str, Any]) -> None:
    now_ns = device["now_ns"]
    about = [device["id"], device.get("driver"), device.get("name"), device.get("code"), device["phase"]]
    table.note(", ".join(word for word in (*about, device.get("reason")) if word))
    table.notes((device["id"], remark) for remark in device.get("remarks", ()))
    table.show(
        ("point", "value", "unit", "quality", "time", "server time"),
        (
            (
                point["name"],
                reading_value(point["value"]),
                point["unit"],
                point["quality"],
                local_time(point["time_ns"]),
                local_time(point["server_time_ns"]),
            )
            for point in device.get("points", [])
        ),
        is_last_optional=True,
    )
    _show_some(("request", "every"), [(plan["request"], f"{plan['interval_s']:g} s") for plan in device["plan"]])
    _show_some(
        ("refused point", "reason", "asked again"),
        [(it["point"], it["reason"], _wait(it["due_ns"], now_ns)) for it in device["refused"]],
    )
    _show_some(
        ("no answer for", "tries", "asked again"),
        [(", ".join(it["points"]), it["failures"], _wait(it["due_ns"], now_ns)) for it in device["silent"]],
    )
    _show_some(("learned", "what"), list(device["learned"].items()))


def _show_some(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    if rows:
        table.show(header, rows)


def _wait(due_ns: int, now_ns: int) -> str:
    return f"in {ago(now_ns, due_ns)}" if due_ns > now_ns else "next time"
