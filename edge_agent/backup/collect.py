"""Gathers what a backup holds. Works beside a running agent, whose files are replaced whole, never written in."""

import grp
import pwd
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from edge_agent import __version__
from edge_agent.audit.log import FOLDER_NAME as AUDIT_FOLDER
from edge_agent.backup.archive import Backup, BackupError, Item, digest
from edge_agent.clock import Clock
from edge_agent.collect.findings import FOLDER_NAME as FOUND_FOLDER
from edge_agent.config.mentioned import mentioned
from edge_agent.errors import OutboxError
from edge_agent.identify.lockfile import FILE_NAME as CODES_NAME
from edge_agent.outbox.inspect import status
from edge_agent.outbox.store import FILE_NAME as OUTBOX_NAME
from edge_agent.registry import Registry

DRIVERS_FOLDER = "drivers"
MAX_FILE_BYTES = 16 * 1024 * 1024
_LOCKS = frozenset({"lock"})


def collect(config: Path, registry: Registry, clock: Clock) -> Backup:
    """Return the backup of the box that runs with ``config``.

    The readings are not in it, and their epoch for information only: docs/adr/0024-backup.md.

    Raises:
        ConfigError: the configuration cannot be used.
        BackupError: a file that belongs to it cannot be read.
    """
    names = mentioned(config, registry)
    state = names.local.outbox.directory
    wanted = [config.absolute(), *names.paths, state / CODES_NAME, state / DRIVERS_FOLDER, state / AUDIT_FOLDER]
    wanted.append(state / FOUND_FOLDER)
    missing = [f"{path} (not there)" for path in names.paths if not path.exists()]
    files = dict.fromkeys(file for path in wanted for file in _files(path))
    epoch = ""
    with suppress(OutboxError):
        epoch = str(status(state / OUTBOX_NAME)["epoch"])
    about = {
        "version": __version__,
        "created": datetime.fromtimestamp(clock.now_ns() // 10**9, UTC).isoformat(),
        "gateway": names.gateway,
        "epoch": epoch,
        "config": str(config.absolute()),
        "state": str(state),
    }
    return Backup(about, (*names.elsewhere, *missing), tuple(map(_read, files)))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield _plain(path)
    elif path.is_dir():
        for inner in sorted(path.rglob("*")):
            if inner.is_file() and inner.name not in _LOCKS and not inner.name.startswith("."):
                yield _plain(inner)


def _plain(path: Path) -> Path:
    """Without ``..``, and with links as they are: where the file is looked for is where it belongs."""
    parts: list[str] = []
    for part in path.absolute().parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def _read(path: Path) -> tuple[Item, bytes]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
            found = path.stat()
    except OSError as exc:
        raise BackupError(
            f"{path} cannot be read: {exc.strerror}; a backup needs the rights of the agent"
        ) from exc
    if len(content) > MAX_FILE_BYTES:
        raise BackupError(f"{path} is larger than {MAX_FILE_BYTES // 1024**2} MiB")
    owner = group = ""
    with suppress(KeyError):
        owner = pwd.getpwuid(found.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(found.st_gid).gr_name
    return Item(str(path), found.st_mode & 0o777, owner, group, digest(content)), content
