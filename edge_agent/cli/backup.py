"""``edge-agent backup`` and ``restore``: for the box that replaces this one."""

import json
import os
from pathlib import Path

import typer

from edge_agent.audit.log import FOLDER_NAME as AUDIT_FOLDER
from edge_agent.backup.archive import MAX_FILE_BYTES, Backup, BackupError, digest, is_sealed, pack, unpack
from edge_agent.backup.collect import collect
from edge_agent.backup.restore import Fate, Plan, carry_out, plan
from edge_agent.cli import table
from edge_agent.cli.audit import recorded
from edge_agent.cli.wording import counted, size
from edge_agent.clock import SystemClock
from edge_agent.registry import Registry

_MAX_PASSPHRASE_BYTES = 64 * 1024


def back_up(config: Path, file: Path, *, encrypts: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Write a new ``file`` that holds what a replaced box needs.

    Raises:
        ConfigError: the configuration cannot be used.
        BackupError: something cannot be read, or ``file`` not be made.
    """
    backup = collect(config, Registry(), SystemClock())
    passphrase = _passphrase(passphrase_file, confirms=True) if encrypts or passphrase_file else None
    content = pack(backup, passphrase)
    with recorded(Path(backup.about["state"]), "backup", file=str(file.absolute()), sha256=digest(content)):
        _write_new(file, content)
    if as_json:
        typer.echo(json.dumps(_as_json(backup, content), ensure_ascii=False))
        return
    typer.echo(f"{file}: {counted(len(backup.items), 'file')} of gateway {backup.about['gateway']}")
    _tell_elsewhere(backup)
    if passphrase is None:
        typer.echo("warning: it holds private keys and passwords as they are; see --encrypt", err=True)


def put_back(
    file: Path, *, root: Path, passphrase_file: Path | None, forces: bool, dry_run: bool, as_json: bool
) -> None:
    """Put the files of a backup where they belong.

    Raises:
        BackupError: it is no sound backup, or there are other files and ``forces`` is not set.
        OutboxError: the agent runs.
    """
    content = _read(file, MAX_FILE_BYTES)
    passphrase = _passphrase(passphrase_file, confirms=False) if is_sealed(content) else None
    backup = unpack(content, passphrase)
    doing = plan(backup, root)
    if not as_json:
        table.note(f"gateway {backup.about['gateway']}, saved {backup.about['created']}")
        table.show(("file", "becomes"), ((step.place, step.fate.value) for step in doing.steps))
    if not dry_run:
        if doing.replaced and not forces:
            raise BackupError(f"{counted(len(doing.replaced), 'file')} would be replaced; --force does it")
        _carry_out(doing, backup, content)
    if as_json:
        fates = {str(step.place): step.fate.value for step in doing.steps}
        told = _as_json(backup, content) | {"files": fates, "done": not dry_run}
        typer.echo(json.dumps(told, ensure_ascii=False))
    elif not dry_run:
        done = sum(step.fate in {Fate.NEW, Fate.REPLACED} for step in doing.steps)
        typer.echo(f"{counted(done, 'file')} put back")
        _tell_elsewhere(backup)


def _carry_out(doing: Plan, backup: Backup, content: bytes) -> None:
    """Record it in the chain of this box, before and after; without one, in the chain that came back."""
    about = {"sha256": digest(content), "gateway": backup.about["gateway"], "created": backup.about["created"]}
    if (doing.state / AUDIT_FOLDER).is_dir():
        with recorded(doing.state, "restore", **about):
            carry_out(doing)
        return
    carry_out(doing)
    with recorded(doing.state, "restore", **about):
        pass


def _as_json(backup: Backup, content: bytes) -> dict[str, object]:
    return {
        **backup.about,
        "sha256": digest(content),
        "files": [item.path for item, _ in backup.items],
        "elsewhere": list(backup.elsewhere),
    }


def _tell_elsewhere(backup: Backup) -> None:
    for what in backup.elsewhere:
        table.note(f"warning: not in the backup: {what}", is_error=True)


def _passphrase(file: Path | None, *, confirms: bool) -> str:
    if file is None:
        try:
            return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirms, err=True))
        except typer.Abort as exc:
            raise BackupError(
                "no passphrase was given; where nobody can be asked, name a file with --passphrase-file"
            ) from exc
    try:
        text = _read(file, _MAX_PASSPHRASE_BYTES).decode().removesuffix("\n")
    except UnicodeDecodeError as exc:
        raise BackupError(f"{file} is not text in UTF-8") from exc
    if not text:
        raise BackupError(f"{file} is empty")
    return text


def _read(file: Path, most_bytes: int) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(most_bytes + 1)
    except OSError as exc:
        raise BackupError(f"{file}: {exc.strerror}") from exc
    if len(content) > most_bytes:
        raise BackupError(f"{file} is larger than {size(most_bytes)}: is it another file?")
    return content


def _write_new(file: Path, content: bytes) -> None:
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as stream:  # noqa: PTH123 - made with its mode: never readable in between
            stream.write(content)
            stream.flush()
            os.fsync(handle)
    except FileExistsError as exc:
        raise BackupError(f"{file} is there already; a backup never replaces another one") from exc
    except OSError as exc:
        raise BackupError(f"{file}: {exc.strerror}") from exc
