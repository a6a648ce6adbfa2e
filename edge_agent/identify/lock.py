"""The codes that were given out, and how they meet today's plan. Pure.

A code freezes when somebody outside may have seen it (first publish, export, label). From then on it belongs to
its object for good: a changed template is reported as drift, a removed object leaves a tombstone, and no other
object ever gets the code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Fault, parse
from edge_agent.identify.plan import Plan, concerning, refuse_taken

VERSION = 1


class Status(StrEnum):
    """What a code is worth to others. Only ``registered`` can be resolved."""

    DRAFT = "draft"
    PENDING = "pending"
    REGISTERED = "registered"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object's code. Times are UTC, ISO 8601 to the second.

    Attributes:
        frozen_at: None = nobody outside has seen the code; it still follows the templates.
        retired_at: when the object left the configuration (tombstone).
        note: the node's reply, as it came.
    """

    handle: str
    first_seen: str
    frozen_at: str | None = None
    status: Status = Status.DRAFT
    registered_at: str | None = None
    retired_at: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Drift:
    """A frozen code that today's templates would make otherwise."""

    key: str
    frozen: str
    planned: str


Lock = Mapping[str, Entry]

_OPTIONAL = {"frozen_at", "registered_at", "retired_at"}
_FIELDS = {item.name for item in fields(Entry)}


def merge(lock: Lock, plan: Plan, *, now: str, freeze: bool) -> tuple[dict[str, Entry], list[IdentifierError]]:
    """Return the lock after the plan, in order of keys, and a problem for each planned code that is taken."""
    owners = handle_owners(lock)
    merged: dict[str, Entry] = {}
    problems: list[IdentifierError] = []
    for key, entry in lock.items():
        if entry.frozen_at and key not in plan.objects:
            merged[key] = entry if entry.retired_at else replace(entry, retired_at=now)
    for key, planned in plan.objects.items():
        entry = lock.get(key) or Entry(planned.handle, first_seen=now)
        if entry.frozen_at:
            merged[key] = replace(entry, retired_at=None)
            continue
        try:
            refuse_taken(owners, key, planned.handle)
        except IdentifierError as exc:
            if not planned.is_found:  # else it goes without a code
                problems.append(concerning(key, exc))
            continue
        merged[key] = replace(entry, handle=planned.handle, frozen_at=now if freeze else None)
    return dict(sorted(merged.items())), problems


def drift(lock: Lock, plan: Plan) -> list[Drift]:
    """Return what the templates would change if it were not frozen."""
    return [
        Drift(key, lock[key].handle, planned.handle)
        for key, planned in plan.objects.items()
        if key in lock and lock[key].handle != planned.handle
    ]


def handle_owners(lock: Lock) -> dict[str, str]:
    """Return casefolded handle → object key of every frozen code, tombstones included."""
    return {entry.handle.casefold(): key for key, entry in lock.items() if entry.frozen_at}


def dump(lock: Lock) -> bytes:
    """Return the file's content: the same bytes for the same lock."""
    objects = {key: asdict(entry) for key, entry in sorted(lock.items())}
    content = {"version": VERSION, "checksum": _checksum(objects), "objects": objects}
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def load(content: bytes, name: str) -> dict[str, Entry]:
    """Read what ``dump`` wrote; ``name`` is the file's, for messages.

    Raises:
        IdentifierError: ``lock_damaged`` or ``lock_newer``; no codes are made up for such a file.
    """
    try:
        data = json.loads(content)
        version = data["version"]
        if isinstance(version, int) and version > VERSION:
            raise IdentifierError(
                f"{name} is of format {version}, this agent knows {VERSION}",
                code=Fault.LOCK_NEWER,
                hint="install the newer edge-agent again, or restore the file from a backup of before the upgrade",
            )
        objects = data["objects"]
        if version != VERSION or data["checksum"] != _checksum(objects):
            raise ValueError("the content does not match its checksum")  # noqa: TRY301 - one place tells what to do
        lock = {key: _entry(value) for key, value in objects.items()}
        if len(handle_owners(lock)) != sum(1 for entry in lock.values() if entry.frozen_at):
            raise ValueError("one code has two owners")  # noqa: TRY301 - as above
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise IdentifierError(
            f"{name} is damaged or was edited ({exc})",
            code=Fault.LOCK_DAMAGED,
            hint="restore it from a backup, or move it away and bring the codes back from the last export with "
            "`edge-agent ids import CONFIG FILE`; without it devices may get codes other than the published ones",
        ) from exc
    return lock


def _entry(value: Mapping[str, object]) -> Entry:
    if set(value) != _FIELDS:
        raise ValueError("an object has missing or unknown fields")
    for name, content in value.items():
        if not isinstance(content, str) and not (content is None and name in _OPTIONAL):
            raise TypeError(f"{name} is {content!r}")
    texts = {name: str(content) if content is not None else None for name, content in value.items()}
    handle = str(texts["handle"])
    try:
        parse(handle)
    except IdentifierError as exc:
        raise ValueError(str(exc)) from exc
    return Entry(
        handle=handle,
        first_seen=str(texts["first_seen"]),
        frozen_at=texts["frozen_at"],
        status=Status(str(texts["status"])),
        registered_at=texts["registered_at"],
        retired_at=texts["retired_at"],
        note=str(texts["note"]),
    )


def _checksum(objects: object) -> str:
    canonical = json.dumps(objects, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
