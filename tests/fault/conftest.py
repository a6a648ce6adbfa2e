"""Where thousands of files are written that need not last."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SHM = Path("/dev/shm")  # noqa: S108 - a file system in memory


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder whose files cost no disk."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-", dir=SHM if SHM.is_dir() else None))
    yield folder
    shutil.rmtree(folder)
