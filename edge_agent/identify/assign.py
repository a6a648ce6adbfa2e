"""Which object has which code, now and for good."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import IdentifierError
from edge_agent.identify import lock as locks
from edge_agent.identify import lockfile
from edge_agent.identify.codec import Fault
from edge_agent.identify.lock import Drift, Entry, Lock, Status
from edge_agent.identify.options import IdentifierOptions
from edge_agent.identify.plan import GATEWAY, Plan, Planned, device_key, draw, point_key, raise_all
from edge_agent.model import DeviceId

SCHEMA = "edge.id.v1"

_log = logging.getLogger(__name__)


class Assignments:
    """Codes of the gateway, its devices and their declared points.

    Get one by ``open`` (the agent) or ``read`` (commands that change nothing).

    Attributes:
        gateway: id of this box.
        plan: what the configuration asks for.
        lock: what was given out, merged with the plan.
        problems: planned codes that are wrong or taken; empty after ``open``.
    """

    def __init__(
        self,
        options: IdentifierOptions,
        path: Path,
        clock: Clock,
        lock: Lock,
        on_frozen: Callable[[Mapping[str, object]], None] | None = None,
    ) -> None:
        self._on_frozen = on_frozen
        self._options = options
        self._path = path
        self._clock = clock
        self.gateway = options.gateway
        self.plan: Plan = draw(options)
        merged, taken = locks.merge(lock, self.plan, now=utc(clock), freeze=False)
        self.lock: Lock = merged
        self.problems: Sequence[IdentifierError] = (*self.plan.problems, *taken)

    @classmethod
    def read(
        cls,
        options: IdentifierOptions,
        lock_path: Path,
        *,
        clock: Clock,
        on_frozen: Callable[[Mapping[str, object]], None] | None = None,
    ) -> "Assignments":
        """Merge plan and lock file without changing anything. Blocks.

        Raises:
            IdentifierError: the lock file cannot be read. Wrong codes are in ``problems``.
        """
        return cls(options, lock_path, clock, lockfile.read(lock_path), on_frozen)

    @classmethod
    def open(
        cls,
        options: IdentifierOptions,
        lock_path: Path,
        *,
        clock: Clock,
        on_frozen: Callable[[Mapping[str, object]], None] | None = None,
    ) -> "Assignments":
        """Merge plan and lock file and record first sight of new objects and removal of old ones. Blocks.

        A file that cannot be written now costs that record only, with a warning; ``freeze`` insists.

        Args:
            options: what the configuration says.
            lock_path: the lock file; made if there is none.
            clock: dates what is recorded.
            on_frozen: told how many codes became final, and the first of them, when they are on the disk; on the
                thread that froze them.

        Raises:
            IdentifierError: the lock file cannot be used, or a planned code is wrong or taken (all are listed).
        """
        assignments = cls.read(options, lock_path, clock=clock, on_frozen=on_frozen)
        raise_all(assignments.problems)
        try:
            assignments.lock = assignments.merge_into_file(assignments.lock, freeze=False)
        except IdentifierError as exc:
            if exc.code != Fault.LOCK_IO:
                raise
            _log.warning(
                "identifier codes cannot be recorded now", extra={"path": str(lock_path), "error": str(exc)}
            )
        without = [key for key, planned in assignments.plan.objects.items() if key not in assignments.lock]
        if without:
            _log.warning(
                "points that devices have get no identifier code: others have it",
                extra={"count": len(without), "first": without[0]},
            )
        drifted = assignments.drift()
        if drifted:
            _log.warning(
                "templates differ from frozen identifier codes; the frozen ones stay",
                extra={"count": len(drifted), "first": drifted[0].key, "path": str(lock_path)},
            )
        return assignments

    def gateway_code(self) -> str:
        """Return the gateway's code."""
        return self.lock[GATEWAY].handle

    def device_code(self, device: DeviceId) -> str | None:
        """Return the device's code, also of a removed device that had one: its backlog keeps it."""
        entry = self.lock.get(device_key(device))
        return entry.handle if entry else None

    def drift(self) -> list[Drift]:
        """Return the frozen codes that today's templates would make otherwise."""
        return locks.drift(self.lock, self.plan)

    def directory(self, now: str) -> dict[str, object]:
        """Return the body of the retained directory message: configured objects only, in order of their names.

        Args:
            now: when the message is made, ISO 8601.
        """
        devices = {device.id: device for device in sorted(self._options.devices, key=lambda item: item.id)}
        have_codes = self.plan.objects.keys() & self.lock.keys()  # a found point may have none
        points = sorted(
            (device.id, point.name)
            for device in devices.values()
            for point in device.points
            if point_key(device.id, point.name) in have_codes
        )
        return {
            "schema": SCHEMA,
            "ts": now,
            "gateway": self._public(GATEWAY),
            "devices": {name: self._public(device_key(name)) for name in devices},
            "points": {f"{device}/{name}": self._public(point_key(device, name)) for device, name in points},
        }

    async def freeze(self) -> None:
        """Make today's codes final and take over what other processes recorded meanwhile. Idempotent.

        Cancellation leaves the old or the new file, whole; call it again before publishing a code.

        Raises:
            IdentifierError: the lock file cannot be read or written, or another object got a code meanwhile.
        """
        plan = None
        while plan is not self.plan:  # another configuration may come meanwhile
            plan = self.plan
            lock = await asyncio.to_thread(self.merge_into_file, self.lock, freeze=True)
        self.lock = lock

    def adopt(self, other: "Assignments") -> None:
        """Become ``other``, which another configuration asks for; whoever holds this one has its codes now."""
        self._options, self.gateway, self.problems = other._options, other.gateway, other.problems  # noqa: SLF001
        self.plan, self.lock = other.plan, other.lock

    def merge_into_file(self, known: Lock, *, freeze: bool) -> Lock:
        """Bring the lock file up to date with ``known`` and the plan and return its content. Blocks.

        Changes no attribute, so that it may run in a thread.

        Raises:
            IdentifierError: as ``freeze``.
        """
        merged, on_disk = self._merged(known, freeze=freeze)
        if merged == on_disk:  # the usual case, and all that a disk which is full or read-only now allows
            return merged
        with lockfile.guard(self._path):
            merged, on_disk = self._merged(known, freeze=freeze)
            if merged != on_disk:
                lockfile.write(self._path, merged)
        fresh = [
            entry.handle for key, entry in merged.items() if entry.frozen_at and not _is_frozen(on_disk.get(key))
        ]
        if fresh and self._on_frozen is not None:
            self._on_frozen({"count": len(fresh), "first": fresh[0]})
        return merged

    def _merged(self, known: Lock, *, freeze: bool) -> tuple[Lock, Lock]:
        """Return what the file should hold and what it holds."""
        on_disk = lockfile.read(self._path)
        # A file that somebody removed under the running agent does not free the codes it has published.
        base = {**{key: entry for key, entry in known.items() if entry.frozen_at}, **on_disk}
        merged, problems = locks.merge(base, self.plan, now=utc(self._clock), freeze=freeze)
        raise_all(problems)
        return merged, on_disk

    def _public(self, key: str) -> dict[str, object]:
        entry: Entry = self.lock[key]
        planned: Planned = self.plan.objects[key]
        body: dict[str, object] = {"handle": entry.handle, "status": entry.status.value}
        if entry.status is Status.REGISTERED and entry.registered_at:
            body["registeredAt"] = entry.registered_at
        alt = _alt(planned.labels)
        if any(alt.values()):
            body["alt"] = alt
        if planned.semantic_id:
            body["semanticId"] = planned.semantic_id
        if planned.unit:
            body["unit"] = planned.unit
        if planned.range is not None:
            body["range"] = dict(zip(("low", "high"), planned.range, strict=True))
        return body


def _is_frozen(entry: Entry | None) -> bool:
    return entry is not None and entry.frozen_at is not None


def utc(clock: Clock) -> str:
    """Return data time as the lock file writes it."""
    return datetime.fromtimestamp(clock.now_ns() // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _alt(labels: Mapping[str, str]) -> dict[str, str | None]:
    alt = {name: labels.get(name) for name in ("serial", "giai")}
    if uri := labels.get("product_instance_uri"):  # of machines after OPC 40001-1, which `browse` finds
        alt["productInstanceUri"] = uri
    return alt
