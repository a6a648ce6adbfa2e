"""The last configuration that ran, kept in the state directory for the day on which the file is broken.

The YAML is kept as it was written: secrets that it names stay names and are looked up again. Relative paths in it
are those of the folder that it came from.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config.source import Source
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.state_files import sync_folder

FILE_NAME = "last-good.json"
SCHEMA = "edge.last-good/1"


@dataclass(frozen=True, slots=True)
class LastGood:
    """A configuration that ran.

    Attributes:
        source: its text, under the path that it was read from.
        kept_ns: when it was kept.
    """

    source: Source
    kept_ns: int


def keep(directory: Path, path: Path, raw: bytes, now_ns: int) -> None:
    """Keep ``raw``, the content of ``path``, for its owner alone; the one before it is replaced whole. Blocks.

    Raises:
        OSError: it cannot be written; the one before it is still there.
    """
    record = {"schema": SCHEMA, "file": str(path.absolute()), "kept_ns": now_ns, "yaml": raw.decode("utf-8")}
    temporary = directory / f"{FILE_NAME}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(record, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / FILE_NAME)
    sync_folder(directory)


def read(directory: Path) -> LastGood:
    """Return what was kept. Blocks.

    Raises:
        EdgeAgentError: there is none, or it cannot be read.
    """
    path = directory / FILE_NAME
    try:
        record = json.loads(path.read_text("utf-8"))
        raw = record["yaml"].encode("utf-8")
        file = Path(record["file"])
        return LastGood(Source.of(file, raw), int(record["kept_ns"]))
    except FileNotFoundError as exc:
        raise EdgeAgentError(
            f"no last good configuration in {directory}: none has run there; "
            "if outbox.directory is another one, name it in $STATE_DIRECTORY"
        ) from exc
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as exc:
        raise EdgeAgentError(f"{path} cannot be used: {exc}") from exc
