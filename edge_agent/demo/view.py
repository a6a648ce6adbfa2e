"""Where the demo shows itself: a table on a terminal, lines elsewhere, nothing beside JSON."""

import logging
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live

from edge_agent.demo.snapshot import Snapshot
from edge_agent.demo.table import plain_line, render
from edge_agent.ops import logs

_TABLE_EVERY_S = 0.5
_PLAIN_EVERY_S = 5.0


class View(Protocol):
    """Shows how the demo goes."""

    every_s: float

    def show(self, snapshot: Snapshot) -> None:
        """Show one moment."""
        ...


class _Silent:
    every_s = _PLAIN_EVERY_S

    def show(self, snapshot: Snapshot) -> None:
        pass


class _Plain:
    every_s = _PLAIN_EVERY_S

    def show(self, snapshot: Snapshot) -> None:
        sys.stdout.write(plain_line(snapshot) + "\n")
        sys.stdout.flush()


class _Table:
    every_s = _TABLE_EVERY_S

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, snapshot: Snapshot) -> None:
        width, height = self._live.console.size
        self._live.update(render(snapshot, width, height), refresh=True)


class NoteHandler(logging.Handler):
    """Keeps the last lines of the log for the table, which a log line in its middle would tear.

    Recoveries as well as failures: a warning that stands there after all is well again would mislead.
    """

    def __init__(self, notes: deque[str]) -> None:
        super().__init__(logging.INFO)
        self._notes = notes
        self.setFormatter(logs.TextFormatter(has_colours=False))

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.append(self.format(record).partition("\n")[0])


@contextmanager
def open_view(notes: deque[str], *, as_json: bool) -> Iterator[View]:
    """Give the view for this output, with the log where it does not disturb."""
    is_table = not as_json and sys.stdout.isatty()
    logs.configure("auto", "info" if as_json or is_table else "warning")
    if as_json:
        yield _Silent()
    elif not is_table:
        yield _Plain()
    else:
        logging.basicConfig(handlers=[NoteHandler(notes)], level=logging.INFO, force=True)
        console = Console()
        with Live(console=console, screen=True, auto_refresh=False) as live:
            live.update("\n  edge-agent demo: the plant and the broker are starting …", refresh=True)
            yield _Table(live)
