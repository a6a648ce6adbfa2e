"""``edge-agent outbox``: looks into the file, beside a running agent or without one."""

import json
import math
from pathlib import Path
from typing import Any

import typer

from edge_agent.cli import table
from edge_agent.cli.wording import counted, local_time, reading_value, size
from edge_agent.config import load_local
from edge_agent.model import DeviceId
from edge_agent.model.quality import quality_name
from edge_agent.outbox import inspect
from edge_agent.outbox.losses import EVERYBODY
from edge_agent.outbox.store import FILE_NAME
from edge_agent.registry import Registry


def show_status(path: Path, *, as_json: bool) -> None:
    """Print how much is kept, of what, and for whom.

    Raises:
        OutboxError: there is no outbox, or it cannot be read.
    """
    status = inspect.status(file_of(path))
    if as_json:
        typer.echo(json.dumps(status, ensure_ascii=False))
        return
    typer.echo(
        f"{status['path']}: {counted(status['readings'], 'reading')} in {counted(status['rows'], 'row')}, "
        f"{size(status['bytes'])}, epoch {status['epoch']}, schema {status['schema']}"
    )
    if status["rows"]:
        typer.echo(f"from {local_time(status['oldest_ns'])} to {local_time(status['newest_ns'])}")
    table.show(
        ("device", "class", "rows", "readings"),
        ((entry["device"], entry["class"], entry["rows"], entry["readings"]) for entry in status["devices"]),
    )
    table.show(
        ("publisher", "rows to send", "committed", "confirmed", "dropped", "pending", "configured"),
        (
            (
                entry["id"],
                entry["pending_rows"],
                *(entry[f"{word}_readings"] for word in ("committed", "confirmed", "dropped", "pending")),
                "yes" if entry["configured"] else "no longer",
            )
            for entry in status["publishers"]
        ),
    )


def show_rows(path: Path, device: str, limit: int, *, as_json: bool) -> None:
    """Print the readings of the newest rows, a line each.

    Raises:
        OutboxError: there is no outbox, it cannot be read, or it has no row of ``device``.
    """
    rows = inspect.show(file_of(path), device=DeviceId(device) if device else None, limit=limit)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, default=_hex))
        return
    table.show(
        ("row", "time", "device", "class", "point", "value", "unit", "quality", "server time"),
        (line for row in rows for line in _lines(row)),
        is_last_optional=True,
    )


def show_losses(path: Path, device: str, limit: int, *, as_json: bool) -> None:
    """Print what was lost, from when to when, for whom and why.

    Raises:
        OutboxError: there is no outbox, or it cannot be read.
    """
    entries = inspect.losses(file_of(path), device=DeviceId(device) if device else None, limit=limit)
    if as_json:
        typer.echo(json.dumps(entries, ensure_ascii=False))
        return
    table.show(
        ("device", "class", "publisher", "from", "to", "readings", "rows", "row ids", "reason", "points"),
        (
            (
                entry["device"],
                entry["class"],
                "all" if entry["publisher"] == EVERYBODY else entry["publisher"],
                local_time(entry["t_first_ns"]),
                local_time(entry["t_last_ns"]),
                entry["readings"],
                entry["rows"] or "",
                f"{entry['row_first']} to {entry['row_last']}" if entry["row_first"] else "",
                entry["reason"],
                ", ".join(entry["points"]) or "any",
            )
            for entry in entries
        ),
    )


def show_days(path: Path, device: str, *, as_json: bool) -> None:
    """Print how complete each UTC day of each device is.

    Raises:
        OutboxError: there is no outbox, or it cannot be read.
    """
    days = inspect.days(file_of(path), device=DeviceId(device) if device else None)
    if as_json:
        typer.echo(json.dumps(days, ensure_ascii=False))
        return
    table.show(
        ("day (UTC)", "device", "readings", "lost", "complete"),
        ((day["day"], day["device"], day["committed"], day["lost"], _percent(day["complete"])) for day in days),
    )


def _percent(ratio: float | None) -> str:
    """Return a ratio as a person reads it; rounded down, so that 100 % means all."""
    if ratio is None:
        return ""
    return "100 %" if ratio == 1 else f"{max(0.0, math.floor(ratio * 1e5) / 1e3):.3f} %"


def file_of(path: Path) -> Path:
    """Return the database that a YAML file, a state directory, or a path of its own names.

    Raises:
        ConfigError: the YAML file cannot be used.
    """
    if path.is_dir():
        return path / FILE_NAME
    if path.suffix in {".yaml", ".yml"}:
        return load_local(path, Registry()).outbox.directory / FILE_NAME
    return path


def _lines(row: dict[str, Any]) -> list[tuple[object, ...]]:
    place = (row["row"], local_time(row["t_first_ns"]), row["device"], row["class"])
    if "damaged" in row:
        return [(*place, "", "", "", f"damaged: {row['damaged']}", "")]
    if "gap" in row:
        gap = row["gap"]
        told = f"gap record: {counted(gap['readings'], 'reading')} missing ({gap['reason']})"
        return [(*place, "", "", "", told, "")]
    return [
        (
            row["row"],
            local_time(reading["time_ns"]),
            row["device"],
            row["class"],
            reading["point"],
            reading_value(reading["value"]),
            reading["unit"],
            quality_name(reading["status"]),
            local_time(reading["server_time_ns"]),
        )
        for reading in row["readings"]
    ]


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
