"""``edge-agent status``: asks the running agent over its control socket."""

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import typer

from edge_agent.cli import table
from edge_agent.errors import EdgeAgentError

TIMEOUT_S = 10.0
_GOOD = "Good"


def show_status(config: Path | None, control_socket: Path | None, device: str, *, as_json: bool) -> None:
    """Print what the agent says of itself.

    Raises:
        EdgeAgentError: no agent answers there, or it has no such device.
    """
    status = ask(control_socket or _socket_of(config))
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


def ask(path: Path) -> dict[str, Any]:
    """Return ``/status`` of the agent behind the Unix socket at ``path``.

    Raises:
        EdgeAgentError: nobody answers there; says what to do.
    """
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/status")
        with connection.getresponse() as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except PermissionError as exc:
        raise EdgeAgentError(f"{path}: not allowed; use sudo, or join the group that owns the socket") from exc
    except (OSError, HTTPException, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise EdgeAgentError(f"no agent answers at {path} ({reason}); is it running? see --socket") from exc
    finally:
        connection.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("agent", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def _socket_of(config: Path | None) -> Path:
    if config is not None:
        from edge_agent.config import load  # noqa: PLC0415 - slow, and seldom needed
        from edge_agent.registry import Registry  # noqa: PLC0415 - as above

        return load(config, Registry()).ops.control_socket
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or "/run/edge-agent"
    return Path(folder) / "control.sock"


def _print_agent(status: dict[str, Any]) -> None:
    now_ns = status["now_ns"]
    about = [f"gateway {status['gateway']}", f"edge-agent {status['version']}"]
    about += [f"code {status['code']}"] if status["code"] else []
    about += [f"up {_ago(status['started_ns'], now_ns)}", f"config {status['config']['file']}"]
    typer.echo(", ".join(about))
    for setting in status["insecure"]:
        typer.echo(f"warning: insecure setting {setting}", err=True)
    table.show(
        ("device", "driver", "state", "for", "points", "bad", "last reading", "reason"),
        (_device_row(device, now_ns) for device in status["devices"]),
    )
    for name, entry in (("outbox", status["outbox"]), *((f"publisher {_id(p)}", p) for p in status["publishers"])):
        typer.echo(f"{name}: {_pairs(entry or {}) or 'not open yet'}")


def _device_row(device: dict[str, Any], now_ns: int) -> tuple[object, ...]:
    points = device.get("points", [])
    last_ns = max((point["time_ns"] for point in points), default=0)
    return (
        device["id"],
        device.get("driver"),
        device["phase"],
        _ago(device["since_ns"], now_ns) if "since_ns" in device else "",
        len(points),
        sum(point["quality"] != _GOOD for point in points),
        f"{_ago(last_ns, now_ns)} ago" if last_ns else "none",
        device.get("reason"),
    )


def _print_device(device: dict[str, Any]) -> None:
    typer.echo(_pairs({key: value for key, value in device.items() if key != "points" and value}))
    table.show(
        ("point", "value", "unit", "quality", "time"),
        (
            (point["name"], _value(point["value"]), point["unit"], point["quality"], _time(point["time_ns"]))
            for point in device.get("points", [])
        ),
    )


def _id(publisher: dict[str, Any]) -> str:
    return str(publisher.get("id", ""))


def _pairs(entry: dict[str, Any]) -> str:
    return ", ".join(_flat(entry))


def _flat(entry: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None and (prefix, key) != ("", "id"):
            yield f"{prefix}{key} {_time(value) if key.endswith('_ns') else value}"


def _value(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _time(time_ns: int) -> str:
    if not time_ns:
        return ""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).astimezone().isoformat(sep=" ", timespec="milliseconds")


def _ago(then_ns: int, now_ns: int) -> str:
    """Return the time between as people say it; a clock that stepped back gives 0 s."""
    seconds = max(0, now_ns - then_ns) // 1_000_000_000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
