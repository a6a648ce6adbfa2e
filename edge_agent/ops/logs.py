"""How log records look: one JSON object per line for machines, aligned text for a person at a terminal.

Modules log constant messages and put values into ``extra``; what is in ``extra`` becomes a field here.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import IO, TextIO, cast

# Libraries that write about every failed request, or each packet; the supervisors tell what matters.
_QUIET = {
    "aiohttp": logging.WARNING,
    "asyncio": logging.WARNING,
    "asyncua": logging.CRITICAL,
    "paho": logging.ERROR,
    "pymodbus.logging": logging.CRITICAL,
    "sqlite_utils": logging.WARNING,
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}
# Priorities of syslog(3), which the journal reads from a prefix "<n>" (sd-daemon(3)).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def configure(log_format: str, level: str, *, stream: TextIO | None = None) -> None:
    """Send every record of this process to one stream, replacing what was set before.

    Args:
        log_format: ``json``, ``text``, or ``auto`` = text on a terminal, JSON otherwise.
        level: ``debug``, ``info``, ``warning`` or ``error``; foreign libraries stay quiet at any level.
        stream: default: stderr.
    """
    stream = stream or sys.stderr
    is_terminal = stream.isatty()
    formatter: logging.Formatter
    if log_format == "text" or (log_format == "auto" and is_terminal):
        formatter = TextFormatter(has_colours=is_terminal and "NO_COLOR" not in os.environ)
    else:
        formatter = JsonFormatter(has_priorities=_is_journal(stream))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    for name, quiet_level in _QUIET.items():
        logging.getLogger(name).setLevel(quiet_level)


def set_level(level: str) -> None:
    """Log from another level on; the rest stays as it was configured."""
    logging.getLogger().setLevel(level.upper())


class JsonFormatter(logging.Formatter):
    """One line per record: ``ts``, ``level``, ``logger``, ``message``, the fields, ``traceback`` if there is one.

    A field that has the name of one of these is written with ``_`` behind it.
    """

    def __init__(self, *, has_priorities: bool = False) -> None:
        super().__init__()
        self._has_priorities = has_priorities

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": _time(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in fields_of(record).items():
            line[f"{key}_" if key in line or key == "traceback" else key] = _plain(value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = json.dumps(line, ensure_ascii=False, default=str)
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{text}" if self._has_priorities else text


class TextFormatter(logging.Formatter):
    """``time level message key=value …`` in local time; what a peer sent can neither colour nor break the line."""

    def __init__(self, *, has_colours: bool) -> None:
        super().__init__()
        self._has_colours = has_colours

    def format(self, record: logging.LogRecord) -> str:
        time = _time(record).astimezone().strftime("%H:%M:%S")
        level = f"{record.levelname.lower():8}"
        pairs = [f"{key}={_word(value)}" for key, value in fields_of(record).items()]
        if self._has_colours:
            level = f"\x1b[{_COLOURS.get(record.levelno, '32')}m{level}\x1b[0m"
            pairs = [f"\x1b[2m{pair}\x1b[0m" for pair in pairs]
        line = " ".join([time, level, _printable(record.getMessage()), *pairs])
        if record.exc_info:
            line += "\n" + "\n".join(map(_printable, self.formatException(record.exc_info).splitlines()))
        return line


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what came with ``extra``."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _plain(value: object) -> object:
    """Keep what JSON has a word for, print the rest: a SecretStr prints as stars; NaN has no word."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if value is None or type(value) in {str, int, bool}:
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast("dict[object, object]", value).items()}
    return str(value)


def _word(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not set(text) & set(' "='):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _is_journal(stream: IO[str]) -> bool:
    """Tell whether ``stream`` goes to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
