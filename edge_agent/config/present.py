"""Whether the files that a configuration names are there, for whoever looks: another user may see less or more."""

import os
from pathlib import Path

from edge_agent.config.node import Document
from edge_agent.config.parts import Parts
from edge_agent.config.referenced import paths_at
from edge_agent.config.shape import Location

_NO_FOLDERS = frozenset({"ca", "certificate", "key"})
"""Last words of the keys of a device that name one file; what others name may be a folder or a serial port."""


def check_files(document: Document, parts: Parts) -> None:
    """Report every file that cannot be read: certificates and keys of publishers and of the pages."""
    for position, publisher in parts.publishers.items():
        tls = publisher.tls
        for key, written in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
            if written is not None:
                _check_file(document, ("publishers", position, "tls", key), parts.directory / written)
    if parts.ops is not None and parts.ops.tls is not None:
        for key, written in (("certificate", parts.ops.tls.certificate), ("key", parts.ops.tls.key)):
            _check_file(document, ("ops", "tls", key), parts.directory / written)


def check_device_files(document: Document, parts: Parts) -> None:
    """Report every file of a device that cannot be read. A start does without: it is that one device's failure."""
    for position, (_, device) in parts.devices.items():
        for at, path in paths_at(device, ("devices", position)):
            _check_file(document, at, path, is_plain=str(at[-1]).rpartition("_")[2] in _NO_FOLDERS)


def _check_file(document: Document, at: Location, path: Path, *, is_plain: bool = True) -> None:
    if why := _unreadable(path, is_plain=is_plain):
        document.report(at, why)


def _unreadable(path: Path, *, is_plain: bool) -> str | None:
    try:
        if path.is_file():
            path.open("rb").close()
        elif not path.exists():
            return f"{path} does not exist"
        elif is_plain:
            return f"{path} is not a file"
        elif path.is_dir():
            os.scandir(path).close()
    except OSError as exc:
        return f"{path} cannot be read: {exc.strerror}"
    return None
