"""The file as text: read within a bound, decoded as UTF-8 or refused with the byte that is not."""

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_agent.config.problems import Problem
from edge_agent.errors import ConfigError

MAX_FILE_BYTES = 16 * 1024 * 1024

_SAVE_AS = "save it as UTF-8"
_WIDE = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """One YAML file.

    Attributes:
        path: as the caller named it.
        raw: its bytes.
        text: decoded, without byte order mark.
    """

    path: Path
    raw: bytes
    text: str

    @classmethod
    def of(cls, path: Path, raw: bytes) -> Self:
        """Return what ``raw``, the content of ``path``, is as text.

        Raises:
            ConfigError: it is not UTF-8.
        """
        return cls(path, raw, decode(path, raw))


def read(path: Path) -> Source:
    """Return the file's text.

    Raises:
        ConfigError: missing, unreadable, a directory, larger than 16 MiB, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as exc:
        raise _refused(path, "the file does not exist") from exc
    except IsADirectoryError as exc:
        raise _refused(path, "this is a directory; name the YAML file in it") from exc
    except (OSError, ValueError) as exc:
        raise _refused(path, f"the file cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise _refused(path, f"the file is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    return Source.of(path, raw)


def decode(path: Path, raw: bytes) -> str:
    """Return ``raw`` as text, without byte order mark.

    Raises:
        ConfigError: it is not UTF-8; the problem names the place and guesses the encoding.
    """
    for mark, name in _WIDE:
        if raw.startswith(mark):
            raise _refused(path, f"the file is {name}; {_SAVE_AS}")
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        before = raw[: exc.start].decode("utf-8")
        raise _refused(path, f"byte 0x{raw[exc.start]:02x} is not UTF-8{_guess(raw)}; {_SAVE_AS}", before) from exc
    position = text.find("\0")
    if position >= 0:
        guess = "; the file looks like UTF-16" if text.count("\0") * 3 > len(text) else ""
        raise _refused(path, f"a zero byte is not text{guess}; {_SAVE_AS}", text[:position])
    return text


def _guess(raw: bytes) -> str:
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    return "; the file looks like GBK (GB 18030)"


def _refused(path: Path, message: str, before: str = "") -> ConfigError:
    lines = before.split("\n")
    return ConfigError([Problem(str(path), len(lines), len(lines[-1]) + 1, "", message)])
