"""What sessions found of their devices, a file for each device: the configuration is built with it.

A file, not a row beside the readings: whoever builds the configuration needs it, also without the agent.
"""

import os
from contextlib import suppress
from pathlib import Path

from edge_agent.model import DeviceId
from edge_agent.state_files import give_to_owner_of, sync_folder

FOLDER_NAME = "found"
MAX_BYTES = 64 * 1024 * 1024
"""A driver that finds more than this of one device has a bug."""


class Findings:
    """The files in one state directory. Every method blocks."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER_NAME

    def read(self, device: DeviceId) -> str:
        """Return what was found of a device; empty = nothing, or nobody can read it."""
        try:
            with self._path(device).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            return content.decode() if len(content) <= MAX_BYTES else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def keep(self, device: DeviceId, text: str) -> bool:
        """Keep what was found, the file before it is replaced whole; return whether it is news.

        Raises:
            OSError: it cannot be written; what was found before is still there.
        """
        if not text:
            return self.forget(device)
        if self.read(device) == text:
            return False
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        path = self._path(device)
        temporary = path.with_suffix(".new")
        try:
            with temporary.open("wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            give_to_owner_of(self._folder.parent, temporary)
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)
        return True

    def forget(self, device: DeviceId) -> bool:
        """Forget what was found; return whether there was anything.

        Raises:
            OSError: it is still there.
        """
        try:
            self._path(device).unlink()
        except FileNotFoundError:
            return False
        sync_folder(self._folder)
        return True

    def _path(self, device: DeviceId) -> Path:
        return self._folder / f"{device}.json"
