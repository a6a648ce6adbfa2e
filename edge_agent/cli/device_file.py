"""The configuration that a probe or a browse writes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from edge_agent.errors import EdgeAgentError
from edge_agent.model import check_id


def check_writable(path: Path, *, is_forced: bool) -> None:
    """Find out before the work what would stop ``write_devices`` after it.

    Raises:
        EdgeAgentError: there is such a file, and not ``is_forced``; or no such folder.
    """
    if path.exists() and not is_forced:
        raise EdgeAgentError(f"{path} exists; --force overwrites it")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise EdgeAgentError(f"{path.parent} is not a folder that can be written to")


def write_devices(path: Path, devices: Sequence[Mapping[str, object]], origin: str, *, is_forced: bool) -> None:
    """Write a configuration with these devices; ``origin`` becomes the first line.

    Whole or not at all; where the file system has no links, a crash may leave an empty file.

    Raises:
        EdgeAgentError: it cannot be written, or exists by now.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text("\n".join(_lines(path, devices, origin)) + "\n", "utf-8")
        try:
            if is_forced:
                unfinished.replace(path)
            else:
                _link(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as exc:
        raise EdgeAgentError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _link(unfinished: Path, path: Path) -> None:
    """Give a whole file a name that nothing has, in one step where the file system can.

    Raises:
        OSError: something has the name, or the folder cannot be written to; then nothing is there.
    """
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise
    except OSError:  # no links: vfat, exFAT
        path.touch(exist_ok=False)
        try:
            unfinished.replace(path)
        except OSError:
            path.unlink()
            raise


def _lines(path: Path, devices: Sequence[Mapping[str, object]], origin: str) -> Iterator[str]:
    yield f"# {origin}"
    yield "gateway: {id: gw-01}"
    yield "publishers: []  # readings stay on disk until there is one"
    yield "devices:"
    for number, device in enumerate(devices):
        yield f"  - id: {_id(path, number if len(devices) > 1 else None)}"
        for key, value in device.items():
            if key == "points" and isinstance(value, list):
                yield "    points:"
                yield from (f"      - {_flow(point)}" for point in value)
            else:
                yield f"    {key}: {_flow(value)}"


def _id(path: Path, number: int | None) -> str:
    stem = path.stem if number is None else f"{path.stem}-{number + 1}"
    try:
        return check_id(stem)
    except ValueError:
        return "device" if number is None else f"device-{number + 1}"


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.strip().removesuffix("...").strip()
