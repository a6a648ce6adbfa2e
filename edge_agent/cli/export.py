"""``edge-agent outbox export``: every reading that is kept, for a spreadsheet or a script."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import typer

from edge_agent.cli.outbox import file_of
from edge_agent.cli.wording import counted
from edge_agent.errors import OutboxError
from edge_agent.model import DeviceId
from edge_agent.model.quality import quality_name
from edge_agent.outbox.inspect import EXPORT_PAGE_ROWS, Export
from edge_agent.outbox.losses import utc_time

COLUMNS = ("epoch", "row", "device", "class", "point", "time", "value", "unit", "quality", "server_time")


def export(path: Path, device: str, output: Path | None, *, as_lines: bool) -> None:
    """Write readings to ``output``, or to standard output; progress goes to standard error, if that is a terminal.

    Args:
        path: as for ``file_of``.
        device: only this one; empty = all.
        output: must not exist.
        as_lines: JSON Lines instead of CSV.

    Raises:
        OutboxError: there is no outbox, it cannot be read, it has no row of ``device``, or ``output``
            cannot be written.
    """
    going = Export(file_of(path), DeviceId(device) if device else None)
    try:
        if output is None:
            _write(going, sys.stdout, as_lines=as_lines)
        else:
            with output.open("x", encoding="utf-8", newline="") as file:
                _write(going, file, as_lines=as_lines)
    except BrokenPipeError:
        raise  # nobody reads any more
    except OSError as exc:
        raise OutboxError(f"cannot write {output or 'standard output'}: {exc.strerror}") from exc
    if going.damaged:
        typer.echo(f"{counted(going.damaged, 'row')} could not be read back", err=True)


def _write(going: Export, file: TextIO, *, as_lines: bool) -> None:
    with _progress(going.total) as show:
        if as_lines:
            file.writelines(json.dumps(reading, ensure_ascii=False) + "\n" for reading in _shown(going, show))
        else:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(tuple(reading.values()) for reading in _shown(going, show))


def _shown(going: Export, show: Callable[[int], None]) -> Iterator[dict[str, Any]]:
    told = 0
    for reading in going.readings():
        if going.done - told >= EXPORT_PAGE_ROWS:
            told = going.done
            show(told)
        value = reading["value"]
        yield {
            **{key: reading[key] for key in COLUMNS[:5]},
            "time": utc_time(reading["time_ns"]),
            "value": value.hex() if isinstance(value, bytes) else value,
            "unit": reading["unit"],
            "quality": quality_name(reading["status"]),
            "server_time": utc_time(server_ns) if (server_ns := reading["server_time_ns"]) else None,
        }
    show(going.total)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Draw a bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a person at a terminal waits for it
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("rows", total=total)
        yield lambda done: bar.update(task, completed=done)
