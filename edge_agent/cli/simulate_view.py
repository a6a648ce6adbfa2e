"""What ``edge-agent simulate`` shows: a live table on a terminal, lines elsewhere, or each event as JSON."""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_agent.cli.wording import counted
from edge_agent.config.simulated import SimulatedDevices
from edge_agent.driver import DeviceModel
from edge_agent.model import DeviceId
from edge_agent.simulating import SimulationEvent, SimulationEventKind

_TABLE_EVERY_S = 0.5
_PLAIN_EVERY_S = 10.0


class View(Protocol):
    """Shows how the simulation goes."""

    every_s: float

    def tell(self, event: SimulationEvent) -> None:
        """Take one event."""
        ...

    def show(self) -> None:
        """Show this moment; called every ``every_s``."""
        ...


class Tally:
    """What happened so far at each device."""

    def __init__(self) -> None:
        self.addresses: dict[DeviceId, str] = {}
        self.clients = Counter[DeviceId]()
        self.requests = Counter[DeviceId]()
        self.faults = Counter[DeviceId]()
        self.last_fault: dict[DeviceId, str] = {}
        self._before = Counter[DeviceId]()

    def add(self, event: SimulationEvent) -> None:
        """Count one event."""
        match event.kind:
            case SimulationEventKind.LISTENING:
                self.addresses[event.device] = event.detail
            case SimulationEventKind.CONNECTED:
                self.clients[event.device] += 1
            case SimulationEventKind.DISCONNECTED:
                self.clients[event.device] -= 1
            case SimulationEventKind.REQUEST:
                self.requests[event.device] += 1
            case SimulationEventKind.FAULT:
                self.faults[event.device] += 1
                self.last_fault[event.device] = event.detail

    def rates(self, seconds: float) -> dict[DeviceId, float]:
        """Return requests per second of each device since the last call, ``seconds`` ago."""
        rates = {device: (count - self._before[device]) / seconds for device, count in self.requests.items()}
        self._before = self.requests.copy()
        return rates


def _say(line: str) -> None:
    """Print a line at once; where nobody reads any more, end as after Ctrl-C."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sink = os.open(os.devnull, os.O_WRONLY)  # takes what is still buffered when the process ends
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
        signal.raise_signal(signal.SIGTERM)


class _Json:
    every_s = _PLAIN_EVERY_S

    def tell(self, event: SimulationEvent) -> None:
        body = {"event": event.kind.value, "device": event.device, "detail": event.detail}
        _say(json.dumps(body, ensure_ascii=False))

    def show(self) -> None:
        pass


class _Plain:
    every_s = _PLAIN_EVERY_S

    def __init__(self) -> None:
        self._tally = Tally()

    def tell(self, event: SimulationEvent) -> None:
        self._tally.add(event)
        if event.kind is not SimulationEventKind.REQUEST:
            _say(f"{event.device}: {event.kind.value} {event.detail}")

    def show(self) -> None:
        rate = sum(self._tally.rates(self.every_s).values())
        faults = counted(self._tally.faults.total(), "fault")
        _say(f"{self._tally.requests.total()} requests, {rate:.3g} per second, {faults}")


class _Table:
    every_s = _TABLE_EVERY_S

    def __init__(self, devices: Sequence[DeviceModel], draw: Callable[[RenderableType], None]) -> None:
        self._devices = devices
        self._draw = draw
        self._tally = Tally()

    def tell(self, event: SimulationEvent) -> None:
        self._tally.add(event)

    def show(self) -> None:
        tally, rates = self._tally, self._tally.rates(self.every_s)
        table = Table(box=None, expand=True, pad_edge=True, header_style="bold", title_justify="left")
        table.title = Text.assemble((" edge-agent simulate ", "bold reverse"), ("   Ctrl-C stops ", "dim"))
        for name in ("device", "address", "unit"):
            table.add_column(name, no_wrap=True)
        for name in ("clients", "requests", "per second", "faults"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("last fault", overflow="ellipsis", no_wrap=True, ratio=1)
        for model in self._devices:
            device = DeviceId(model.id)
            table.add_row(
                Text(device, style="bold cyan" if tally.clients[device] else ""),
                tally.addresses.get(device, ""),
                str(getattr(model, "unit", "")),
                str(tally.clients[device]),
                f"{tally.requests[device]:,}",
                f"{rates.get(device, 0.0):.3g}",
                f"{tally.faults[device]:,}",
                Text(tally.last_fault.get(device, ""), style="yellow"),
            )
        self._draw(table)


@contextmanager
def open_view(simulated: SimulatedDevices, *, as_json: bool) -> Iterator[View]:
    """Give the view for this output."""
    for device, protocol in simulated.left_out:
        typer.echo(f"{device}: not simulated, the driver {protocol} cannot be", err=True)
    if as_json:
        yield _Json()
    elif not sys.stdout.isatty():
        yield _Plain()
    else:
        with Live(screen=True, auto_refresh=False) as live:
            yield _Table(list(simulated.devices), lambda table: live.update(table, refresh=True))
