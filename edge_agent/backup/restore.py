"""Puts the files of a backup where they belong: all of them, or none before every doubt is raised."""

import grp
import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_agent.audit.log import FOLDER_NAME as AUDIT_FOLDER
from edge_agent.backup.archive import Backup, BackupError, Item, digest
from edge_agent.outbox.directory import DirectoryLock
from edge_agent.state_files import give_to_owner_of, sync_folder


class Fate(StrEnum):
    """What becomes of a file."""

    NEW = "new"
    SAME = "as it is"
    REPLACED = "replaced"
    KEPT = "kept: this box has an audit log of its own"


@dataclass(frozen=True, slots=True)
class Step:
    """One file of the backup and its place on this box."""

    item: Item
    content: bytes
    place: Path
    fate: Fate


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore does. ``state``: the state directory on this box."""

    state: Path
    steps: tuple[Step, ...]

    @property
    def replaced(self) -> list[Path]:
        """Files that are there with another content."""
        return [step.place for step in self.steps if step.fate is Fate.REPLACED]


def plan(backup: Backup, root: Path) -> Plan:
    """Return what putting ``backup`` back below ``root`` (usually ``/``) does; changes nothing.

    Raises:
        BackupError: a place cannot be looked at.
    """
    state = _below(root, backup.about["state"])
    place, steps = state, []
    try:
        has_audit = any((state / AUDIT_FOLDER).glob("*.jsonl"))
        for item, content in backup.items:
            place = _below(root, item.path)
            if place.is_relative_to(state / AUDIT_FOLDER) and has_audit:
                fate = Fate.KEPT  # two chains cannot become one
            elif not place.exists():
                fate = Fate.NEW
            else:
                fate = Fate.SAME if digest(place.read_bytes()) == item.sha256 else Fate.REPLACED
            steps.append(Step(item, content, place, fate))
    except OSError as exc:
        remedy = "; use sudo" if isinstance(exc, PermissionError) else ""
        raise BackupError(f"{place} cannot be read: {exc.strerror}{remedy}") from exc
    return Plan(state, tuple(steps))


def carry_out(doing: Plan) -> None:
    """Write what is new or replaced; each file is the old or the new one, whole, whatever happens.

    Raises:
        OutboxError: the agent runs.
        BackupError: a file cannot be written; those before it are.
    """
    lock = DirectoryLock(doing.state)
    try:
        give_to_owner_of(doing.state, doing.state / "lock")  # a lock of root's would keep the agent out
        for step in doing.steps:
            if step.fate in {Fate.NEW, Fate.REPLACED}:
                try:
                    _write(step, doing.state)
                except OSError as exc:
                    raise BackupError(f"{step.place} cannot be written: {exc.strerror}") from exc
    finally:
        lock.release()


def _write(step: Step, state: Path) -> None:
    place = step.place
    is_state = place.is_relative_to(state)
    _make_folder(place.parent, 0o750 if is_state else 0o755)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(file, "wb") as stream:  # noqa: PTH123 - made with its mode: never readable in between
            stream.write(step.content)
            stream.flush()
            if os.geteuid() == 0:
                os.fchown(file, *_owner(step.item, state if is_state else None))
            os.fchmod(file, step.item.mode & 0o777)
            os.fsync(file)
        draft.replace(place)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(place.parent)


def _make_folder(folder: Path, mode: int) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, mode)
    folder.mkdir(mode)
    give_to_owner_of(folder.parent, folder)


def _owner(item: Item, state: Path | None) -> tuple[int, int]:
    """Return uid and gid: in the state directory its owner's, elsewhere those of the names, or of who restores."""
    if state is not None:
        found = state.stat()
        return found.st_uid, found.st_gid
    uid = gid = 0
    with suppress(KeyError, ValueError):
        uid = pwd.getpwnam(item.owner).pw_uid
    with suppress(KeyError, ValueError):
        gid = grp.getgrnam(item.group).gr_gid
    return uid, gid


def _below(root: Path, path: str) -> Path:
    return root / path.removeprefix("/")
