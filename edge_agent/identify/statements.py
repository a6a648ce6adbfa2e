"""Files that come back from a node operator or from a replaced box, read into statements. Pure.

CSV with a header line, or JSON: an array of objects, or an export with its ``objects``.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import parse
from edge_agent.identify.lock import Status

# The columns of an export; the order is the order in the file.
COLUMNS = (
    "object",
    "kind",
    "handle",
    "status",
    "message",
    "gateway",
    "name",
    "labels",
    "unit",
    "semantic_id",
    "first_seen",
    "frozen_at",
    "registered_at",
    "retired_at",
)
_TIMES = ("first_seen", "frozen_at", "registered_at", "retired_at")
_READ = ("object", "handle", "status", "message", "gateway", *_TIMES)
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_MESSAGE = 4000
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")  # has no UTF-8 bytes that could be kept
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True, slots=True)
class LineProblem:
    """What is wrong with one line; line 0 = the file as a whole."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True, slots=True)
class Statement:
    """What one line says about one code. Empty texts = the line does not say.

    Attributes:
        key: object key, in files that came from an export.
        gateway: id of the gateway that made the export.
    """

    line: int
    handle: str
    status: Status
    message: str = ""
    key: str = ""
    gateway: str = ""
    first_seen: str = ""
    frozen_at: str = ""
    registered_at: str = ""
    retired_at: str = ""


@dataclass(frozen=True, slots=True)
class Statements:
    """Everything that a file says.

    Attributes:
        ignored: columns that mean nothing to us.
    """

    items: tuple[Statement, ...]
    problems: tuple[LineProblem, ...]
    ignored: tuple[str, ...]


_Row = tuple[int, Mapping[str, object] | str]  # line and content, or what is wrong with it


def read_statements(content: bytes) -> Statements:
    """Read a reply or an export; problems are collected, never raised."""
    if len(content) > MAX_FILE_BYTES:
        return _useless(0, f"the file has more than {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        return _useless(line, "not UTF-8; save it again as `CSV UTF-8`")
    try:
        rows = list(_json_rows(text) if text.lstrip()[:1] in {"[", "{"} else _csv_rows(text))
    except _FileError as exc:
        return _useless(exc.line, str(exc))
    items: list[Statement] = []
    problems: list[LineProblem] = []
    for line, row in rows:
        found = [row] if isinstance(row, str) else _statement(line, row)
        if isinstance(found, Statement):
            items.append(found)
        else:
            problems.extend(LineProblem(line, message) for message in found)
    problems.extend(_said_twice(items))
    if not rows:
        problems.append(LineProblem(0, "the file says nothing: no line after the header"))
    named = (name for _, row in rows if not isinstance(row, str) for name in row)
    return Statements(
        tuple(items), tuple(problems), tuple(dict.fromkeys(name for name in named if name not in COLUMNS))
    )


class _FileError(Exception):
    """The file has no rows that could be looked at."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _useless(line: int, message: str) -> Statements:
    return Statements((), (LineProblem(line, message),), ())


def _csv_rows(text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in ("handle", "status") if name not in header]
        if missing:
            raise _FileError(
                1, f"no column {' and '.join(missing)}; the first line names the columns, with commas"
            )
        if len(set(header)) != len(header):
            raise _FileError(1, "a column name stands twice in the first line")
        start = reader.line_num + 1
        for cells in reader:
            if any(cells):
                fits = len(cells) == len(header)
                odd = f"{len(cells)} cells under {len(header)} column names"
                yield start, dict(zip(header, cells, strict=True)) if fits else odd
            start = reader.line_num + 1
    except csv.Error as exc:
        raise _FileError(reader.line_num, f"not CSV: {exc}") from exc


def _json_rows(text: str) -> Iterator[_Row]:
    try:
        data = json.loads(text, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as exc:
        raise _FileError(exc.lineno, f"not JSON: {exc.msg}") from exc
    except RecursionError as exc:
        raise _FileError(0, "not a list of objects") from exc
    items = data.get("objects") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise _FileError(0, 'JSON must be a list of objects, or hold one under "objects"')
    lines = list(_item_lines(text, "" if isinstance(data, list) else r'"objects"\s*:\s*'))
    if len(lines) != len(items):  # another "objects" stands before the one at the top
        lines = [0] * len(items)
    for line, item in zip(lines, items, strict=True):
        yield line, item if isinstance(item, dict) else "not an object with handle and status"


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise _FileError(0, f"a key stands twice in one object: {', '.join(key for key, _ in pairs)}")
    return dict(pairs)


def _item_lines(text: str, before: str) -> Iterator[int]:
    """Yield the line of each item of the first array after ``before``; the text is known to be JSON."""
    opening = re.search(before + r"\[", text)
    position = opening.end() if opening else len(text)
    decoder = json.JSONDecoder()
    separators = re.compile(r"[\s,]*")
    line, counted = 1, 0
    while True:
        separator = separators.match(text, position)
        position = separator.end() if separator else position
        if text[position : position + 1] in {"]", ""}:
            return
        line += text.count("\n", counted, position)
        counted = position
        yield line
        _, position = decoder.raw_decode(text, position)


def _statement(line: int, row: Mapping[str, object]) -> Statement | list[str]:
    problems = []
    texts = {}
    for name in _READ:
        value = row.get(name)
        texts[name] = value if isinstance(value, str) else ""
        if value is not None and not isinstance(value, str):
            problems.append(f"{name} must be text, not {value!r}")
    try:
        parse(texts["handle"])
    except IdentifierError as exc:
        problems.append(str(exc))
    if texts["status"] not in set(Status):
        problems.append(f"status {texts['status']!r} is not one of {', '.join(Status)}")
    message = texts["message"]
    if len(message) > MAX_MESSAGE or _HALF_PAIR.search(message):
        problems.append(f"message is not text of at most {MAX_MESSAGE} characters")
    problems.extend(
        f"{name} {texts[name]!r} is not a time such as 2026-11-23T08:00:00Z"
        for name in _TIMES
        if texts[name] and not _TIME.fullmatch(texts[name])
    )
    if problems:
        return problems
    return Statement(
        line,
        texts["handle"],
        Status(texts["status"]),
        message,
        texts["object"],
        texts["gateway"],
        texts["first_seen"],
        texts["frozen_at"],
        texts["registered_at"],
        texts["retired_at"],
    )


def _said_twice(items: list[Statement]) -> Iterator[LineProblem]:
    first: dict[str, int] = {}
    for item in items:
        for name in filter(None, (item.handle, item.key)):
            line = first.setdefault(name, item.line)
            if line != item.line:
                yield LineProblem(item.line, f"{name!r} stands in line {line} already")
