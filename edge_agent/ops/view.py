"""What the status page and ``/status`` show, as JSON built in slices: the loop never waits for a viewer."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from edge_agent.clock import Clock
from edge_agent.collect.options import DeviceOptions
from edge_agent.current import Current, DeviceCurrent, DevicePhase
from edge_agent.errors import OutboxError
from edge_agent.model import DeviceId
from edge_agent.model.quality import is_bad, is_good, quality_name
from edge_agent.ops.log_ring import LogRing

SLICE_S = 0.002
FRESH_S = 1.0
LOSSES_FRESH_S = 5.0
MAX_POINTS = 500
MAX_TEXT = 200
_EXACT = 2**53  # integers beyond it lose digits in a browser


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the view looks.

    Attributes:
        head: everything of ``/status`` but the devices.
        devices: those that are configured, in order.
        describe: one of them as ``/status`` shows it.
        current: their present.
        code: the identifier code of one of them, if it has one.
        losses: the newest entries of the ledger of losses, the oldest of them first; called on a thread.
    """

    head: Callable[[], dict[str, object]]
    devices: Callable[[], Sequence[DeviceOptions]]
    describe: Callable[[DeviceOptions], dict[str, object]]
    current: Current
    code: Callable[[DeviceId], str | None]
    losses: Callable[[], list[dict[str, Any]]]


class View:
    """Builds the answers. However many look, an overview is built once in ``FRESH_S``."""

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self.log = LogRing()
        self._sources = sources
        self._clock = clock
        self._building = asyncio.Lock()
        self._overview: tuple[float, bytes] | None = None
        self._counting = asyncio.Lock()
        self._losses: tuple[float, bytes] | None = None

    async def status(self) -> bytes:
        """Return ``/status``: everything there is."""
        sources = self._sources
        return await self._built(sources.head(), map(sources.describe, sources.devices()))

    async def overview(self) -> bytes:
        """Return everything but the points, at most ``FRESH_S`` old."""
        async with self._building:
            now_s = self._clock.monotonic_s()
            if self._overview is None or now_s - self._overview[0] >= FRESH_S:
                sources = self._sources
                head = sources.head() | {"log": self.log.newest_first()}
                body = await self._built(head, map(self._summed_up, sources.devices()))
                self._overview = now_s, body
            return self._overview[1]

    async def losses(self) -> bytes:
        """Return the last losses, newest first, at most ``LOSSES_FRESH_S`` old; none while they cannot be read."""
        async with self._counting:
            now_s = self._clock.monotonic_s()
            if self._losses is None or now_s - self._losses[0] >= LOSSES_FRESH_S:
                self._losses = now_s, encoded({"losses": await asyncio.to_thread(self._read_losses)})
            return self._losses[1]

    def device(self, device: str, wanted: str = "") -> bytes | None:
        """Return a device with at most ``MAX_POINTS`` of its points, live.

        Args:
            device: its id.
            wanted: only points that have this in their name or description, in whatever case.

        Returns:
            None: there is no such device.
        """
        options = next((one for one in self._sources.devices() if one.id == device), None)
        if options is None:
            return None
        current = self._sources.current.get(options.id)
        points, matching = ([], 0) if current is None else _points(current, wanted.casefold())
        about = self._summed_up(options) | {
            "now_ns": self._clock.now_ns(),
            "code": self._sources.code(options.id),
            "total": len(options.table.points),
            "matching": matching,
            "points": points,
        }
        return encoded(about)

    def _summed_up(self, options: DeviceOptions) -> dict[str, object]:
        about: dict[str, object] = {
            "id": options.id,
            "name": options.name,
            "driver": options.spec.protocol,
            "phase": DevicePhase.CONNECTING.value,
            "reason": "",
            "points_count": len(options.table.points),
        }
        current = self._sources.current.get(options.id)
        if current is None:
            return about
        return about | {
            "phase": current.phase.value,
            "reason": current.reason,
            "remarks": current.remarks,
            "since_ns": current.since_ns,
            "not_good": current.count_not_good(),
        }

    def _read_losses(self) -> list[dict[str, Any]]:
        try:
            return self._sources.losses()[::-1]
        except OutboxError:
            return []

    async def _built(self, head: dict[str, object], devices: Iterable[dict[str, object]]) -> bytes:
        parts = []
        began_s = self._clock.monotonic_s()
        for device in devices:
            parts.append(msgspec.Raw(encoded(device)))
            if self._clock.monotonic_s() - began_s >= SLICE_S:
                await asyncio.sleep(0)
                began_s = self._clock.monotonic_s()
        return encoded(head | {"devices": parts})


def encoded(body: object) -> bytes:
    """Return ``body`` as JSON; what JSON has no word for is printed with ``str``."""
    return msgspec.json.encode(body, enc_hook=str)


def _points(current: DeviceCurrent, wanted: str) -> tuple[list[dict[str, object]], int]:
    """Return the first points that match, and how many do."""
    found = [
        index
        for index, point in enumerate(current.table.points)
        if not wanted or wanted in point.name.casefold() or wanted in point.description.casefold()
    ]
    return [_point(current, index) for index in found[:MAX_POINTS]], len(found)


def _point(current: DeviceCurrent, index: int) -> dict[str, object]:
    point, latest = current.table.points[index], current.latest(index)
    value = latest.value
    if isinstance(value, bytes):
        value = value[:MAX_TEXT].hex()
    elif isinstance(value, str):
        value = value[:MAX_TEXT]
    elif type(value) is int and abs(value) >= _EXACT:
        value = str(value)
    severity = "good" if is_good(latest.status) else "bad" if is_bad(latest.status) else "uncertain"
    return {
        "name": point.name,
        "description": point.description,
        "unit": point.unit,
        "range": point.limits,
        "value": value,
        "severity": severity,
        "quality": quality_name(latest.status),
        "time_ns": latest.time_ns,
        "server_time_ns": latest.server_time_ns,
    }
