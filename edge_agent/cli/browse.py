"""``edge-agent browse``: lists what a device offers, and writes it as a configuration."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import typer
from pydantic import SecretStr

from edge_agent.browsing import BrowseEnd, BrowserSpec, Browsing, FoundPoint, Progress
from edge_agent.cli import table
from edge_agent.cli.device_file import check_writable, write_devices
from edge_agent.cli.exits import ExitCode
from edge_agent.cli.progress import open_progress
from edge_agent.cli.wording import counted
from edge_agent.collect.context import DeviceContext, driver_directory, planning_context
from edge_agent.config import load
from edge_agent.config.loader import load_document
from edge_agent.driver import DeviceModel
from edge_agent.errors import EdgeAgentError
from edge_agent.model import DeviceId
from edge_agent.registry import Registry

MAX_POINTS = 65535  # of one device
MAX_SHOWN = 1000
"""Rows of a table on a terminal: nobody reads more, and a drawn table is held in memory."""

_HEADER = ("point", "node", "path", "type", "unit", "value", "not a point because")
_NODE = 1


class _Sink(Protocol):
    """Takes what is found."""

    def take(self, points: Sequence[FoundPoint]) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """What is browsed.

    Attributes:
        protocol: of the driver that browses.
        address: of the device, as the driver understands it; empty: ``device`` of ``config``.
        config: the YAML file that the device is in, with what it takes to connect.
        device: its id there.
    """

    protocol: str
    address: str
    config: Path | None
    device: str

    def __str__(self) -> str:
        return f"{self.protocol} {self.address or f'--config {self.config} --device {self.device}'}"


@dataclass(frozen=True, slots=True)
class Interest:
    """What is to be found.

    Attributes:
        globs: of which a path must match one, in any case; none: everything.
        start: where to begin, as the driver understands it.
        most: nodes that are looked into.
        profile: the kind of device that is recognised; empty: none.
    """

    globs: Sequence[str]
    start: str
    most: int
    profile: str = ""

    def wants(self, path: str) -> bool:
        """Return whether a path is of interest."""
        return not self.globs or any(fnmatchcase(path.casefold(), glob.casefold()) for glob in self.globs)


def browse(target: Target, interest: Interest, *, write: Path | None, is_forced: bool, as_json: bool) -> ExitCode:
    """Browse a device and tell what it offers.

    Args:
        target: which one.
        interest: what of it.
        write: the file that gets the configuration.
        is_forced: whether it may be there.
        as_json: for scripts, a line for each point.

    Raises:
        EdgeAgentError: it cannot be done; the message says what to change.
    """
    if write is not None:
        check_writable(write, is_forced=is_forced)
    opened = _open(target)
    if interest.profile and interest.profile not in opened.browser.profiles:
        known = ", ".join(opened.browser.profiles) or "none"
        raise EdgeAgentError(f"the driver {target.protocol} has no profile {interest.profile!r}; it has: {known}")
    counts, points = _Counts(), _Points()
    sinks: list[_Sink] = [counts, _Lines() if as_json else _Rows()]
    if write is not None:
        sinks.append(points)
    try:
        with open_progress() as show:
            end = asyncio.run(_browse(opened, interest, sinks, show))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    for sink in sinks:
        sink.end()
    _tell_end(end, counts, interest.most)
    if write is not None:
        if not points.sections:
            raise EdgeAgentError(f"{write} is not written: nothing was found that can be a point")
        device = {**opened.section, "points": points.sections}
        if end.labels:
            written = opened.section.get("labels")
            device["labels"] = {**end.labels, **(written if isinstance(written, dict) else {})}
        write_devices(write, [device], f"Found by `edge-agent browse {target}`.", is_forced=is_forced)
        typer.echo(f"written: {write}; next: edge-agent check {write} --plan", err=True)
    return ExitCode.DONE if counts.found else ExitCode.FAILED


async def _browse(
    opened: "_Opened", interest: Interest, sinks: Sequence["_Sink"], show: Callable[[str, float], None]
) -> BrowseEnd:
    found = 0

    def tell(points: Sequence[FoundPoint]) -> None:
        nonlocal found
        found += len(points)
        for sink in sinks:
            sink.take(points)

    def progress(so_far: Progress) -> None:
        share = so_far.done / (so_far.done + so_far.waiting)
        show(f"{counted(found, 'point')} in {counted(so_far.done, 'node')}", share)

    browsing = Browsing(tell, progress, interest.wants, interest.most, interest.start, interest.profile)
    return await opened.browser.browse(opened.context, opened.model, browsing)


class _Counts:
    def __init__(self) -> None:
        self.found = 0
        self.hindered = 0

    def take(self, points: Sequence[FoundPoint]) -> None:
        self.found += len(points)
        self.hindered += sum(bool(point.hindrance) for point in points)

    def end(self) -> None:
        pass


class _Lines:
    """JSON Lines, as they come."""

    def take(self, points: Sequence[FoundPoint]) -> None:
        for point in points:
            body = {
                "name": point.name,
                **point.keys,
                "path": point.path,
                "type": point.type,
                "value": point.value,
                "hindrance": point.hindrance,
            }
            sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")

    def end(self) -> None:
        sys.stdout.flush()


class _Rows:
    """A table at the end on a terminal; elsewhere tab-separated rows as they come."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._rows: list[Sequence[object]] = [] if self._is_terminal else [_HEADER]
        self._unshown = 0

    def take(self, points: Sequence[FoundPoint]) -> None:
        rows = [_row(point) for point in points]
        if self._is_terminal:
            kept = rows[: MAX_SHOWN - len(self._rows)]
            self._rows += kept
            self._unshown += len(rows) - len(kept)
        else:
            table.show_lines([*self._rows, *rows])
            self._rows = []

    def end(self) -> None:
        if self._is_terminal and self._rows:
            # Node ids take half of the width and are for files: they are in pipes, --json and --write.
            kept = [column for column, name in enumerate(_HEADER) if column != _NODE]
            if not any(row[-1] for row in self._rows):
                kept.pop()
            table.show(
                [_HEADER[column] for column in kept], ([row[column] for column in kept] for row in self._rows)
            )
        if self._unshown:
            table.note(f"and {self._unshown:,} more: narrow it with --filter, or see all with --json or --write")


def _row(point: FoundPoint) -> tuple[object, ...]:
    keys = point.keys
    node = next(iter(keys.values()), "")
    return point.name, node, point.path, point.type, keys.get("unit", ""), point.value, point.hindrance


class _Points:
    """What goes into the file."""

    def __init__(self) -> None:
        self.sections: list[Mapping[str, object]] = []

    def take(self, points: Sequence[FoundPoint]) -> None:
        self.sections += [{"name": point.name, **point.keys} for point in points if not point.hindrance]
        if len(self.sections) > MAX_POINTS:
            raise EdgeAgentError(f"more than {MAX_POINTS} points, which is too much for a device; use --filter")

    def end(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Opened:
    """A device that can be browsed.

    Attributes:
        section: of its configuration, less id and points.
    """

    browser: BrowserSpec
    context: DeviceContext
    model: DeviceModel
    section: Mapping[str, object]


def _open(target: Target) -> _Opened:
    registry = Registry()
    spec = registry.load(target.protocol)
    if spec.browser is None:
        raise EdgeAgentError(f"the driver {target.protocol} cannot browse; opcua can")
    browser = spec.browser()
    if target.config is not None:
        return _configured(target.config, target, browser, registry)
    try:
        model: DeviceModel = browser.device(target.address)
    except ValueError as exc:
        raise EdgeAgentError(str(exc)) from exc
    section = model.model_dump(include=model.model_fields_set - {"id", "points"}, mode="json")
    return _Opened(browser, planning_context(DeviceId(model.id)), model, section)


def _configured(path: Path, target: Target, browser: BrowserSpec, registry: Registry) -> _Opened:
    """Open a device of a configuration; its section is as it is written there, less secrets."""
    options = load(path, registry)
    found = {one.id: one for one in options.devices if one.spec.protocol == target.protocol}
    device = found.get(DeviceId(target.device))
    if device is None:
        known = ", ".join(found) or "none"
        raise EdgeAgentError(
            f"{path} has no device {target.device!r} with driver {target.protocol}; it has {known}"
        )
    context = planning_context(device.id)
    context.directory = driver_directory(options.outbox.directory, target.protocol)
    _, document = load_document(path)
    (section,) = (
        node.value
        for _, node in document.items("devices")
        if isinstance(node.value, dict) and node.value.get("id") == target.device
    )
    secrets = [key for key, value in section.items() if isinstance(value, SecretStr)]
    for key in secrets:
        table.note(f"{key}: is a secret and is not written; add it to the file", is_error=True)
    kept = {key: value for key, value in section.items() if key not in {"id", "points", *secrets}}
    return _Opened(browser, context, device.config.unpack(), kept)


def _tell_end(end: BrowseEnd, counts: _Counts, most: int) -> None:
    for key, value in end.labels.items():
        table.note(f"{key}: {value}", is_error=True)
    for note in end.notes:
        table.note(note, is_error=True)
    hindered = f", {counts.hindered:,} of them cannot be points as they stand" if counts.hindered else ""
    typer.echo(f"{counted(counts.found, 'variable')}{hindered}", err=True)
    if not end.is_complete:
        typer.echo(f"stopped at {most:,} nodes: there are more; see --most, --from and --filter", err=True)
