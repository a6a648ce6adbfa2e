"""Gets back what can be read of a log that was set aside: rows, point tables, acknowledgements, losses.

Three passes over the pages, a piece at a time, so that memory stays small: what is known of the rows, the rows
themselves, and, where some are missing, what the indexes say of them. Blocks; on a thread of its own.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.clock import Anchor
from edge_agent.errors import OutboxCorruptError
from edge_agent.model import DeviceId, PointTable, PublisherId, ReadingClass
from edge_agent.outbox.losses import EVERYBODY, UNKNOWN, Loss, Owing, in_groups
from edge_agent.outbox.pages import DamagedFile, Record
from edge_agent.outbox.ranges import Ranges
from edge_agent.outbox.records import SavedRow, decode_row, parse_table
from edge_agent.outbox.recovery import FILE_NAME, NOTE_NAME, REPORT_NAME
from edge_agent.outbox.rows import Gap, Reason
from edge_agent.outbox.sqlite import GENERATION_ROWS
from edge_agent.outbox.tables import TableCopy

MAX_REPORTS = 20
_PIECE_PAGES = 512
_PIECE_BYTES = 256 * 1024
_MAX_DAMAGED = 100_000
_CLASSES = {reading_class.value for reading_class in ReadingClass}
_ROW_VALUES = (11, 13)
_LAST_ID = 2**62


@dataclass(slots=True)
class Survey:
    """What the file, and the process that had it open, know of the rows."""

    tables: dict[int, PointTable] = field(default_factory=dict)
    anchors: dict[int, Anchor] = field(default_factory=dict)
    acknowledged: dict[PublisherId, Ranges] = field(default_factory=dict)
    learned: list[tuple[str, str, str]] = field(default_factory=list)
    expected: Ranges = field(default_factory=Ranges)
    """Ids of rows that were there."""
    last_id: int = 0


class Salvage:
    """Reads one folder with a log that was set aside.

    Args:
        folder: holds ``outbox.db``, ``outbox.db-wal``, and a note.

    Attributes:
        progress: part of the work that is done, 0 to 1.
        saved: ids of rows that ``pieces`` gave back.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress = 0.0
        self.saved = Ranges()
        self.survey = Survey()
        self._damaged: dict[int, tuple[DeviceId, str, int]] = {}
        self._epoch = ""
        self._times: tuple[int, int] | None = None
        self._note = _note(folder)
        self._told = Ranges(map(tuple, self._note.get("told", [])))
        for publisher, spans in self._note.get("acknowledged", {}).items():
            self.survey.acknowledged[PublisherId(publisher)] = Ranges(map(tuple, spans))

    def look(self) -> Iterator[None]:
        """Make the survey; yields from time to time."""
        survey = self.survey
        survey.tables = TableCopy(self.folder).read()
        survey.expected = Ranges(map(tuple, self._note.get("kept", [])))
        for record in self._records(0.0, 0.3):
            if record is None:
                yield
            else:
                _notice(survey, record)
        for ranges in survey.acknowledged.values():
            ranges.discard(survey.last_id + 1, 2 * _LAST_ID)  # beyond the end of the log: damaged
        told = self._note.get("last_id", 0)
        begin = max(survey.last_id, told // GENERATION_ROWS * GENERATION_ROWS) + 1
        if begin <= told:
            survey.expected.add(begin, told)

    def pieces(self) -> Iterator[list[SavedRow]]:
        """Yield rows, as many at once as a short transaction takes; an empty list to draw breath."""
        piece: list[SavedRow] = []
        size_bytes = 0
        for record in self._records(0.3, 0.9):
            if record is not None:
                row = self._row(record)
                if row is None or row.id in self.saved or row.id in self._told:
                    continue
                self.saved.add(row.id)
                piece.append(row)
                size_bytes += len(row.body)
            if record is None or size_bytes >= _PIECE_BYTES:
                yield piece
                piece, size_bytes = [], 0
        yield piece

    def losses(self, owing: Owing, now_ns: int) -> Iterator[Loss | None]:
        """Yield what is missing, joined by device and class; None to draw breath."""
        missing = Ranges(self.survey.expected)
        for row_id in self._damaged:
            missing.add(row_id)
        for first, last in (*self.saved, *self._told):
            missing.discard(first, last)
        found = {row_id: about for row_id, about in self._damaged.items() if row_id in missing}
        losses: list[Loss] = []
        for record in self._records(0.9, 1.0) if len(missing) else ():
            if record is None:
                yield None
                losses = list(in_groups(losses))
                continue
            row_id, about = _indexed(record, self.survey.tables)
            if about is not None and row_id in missing and row_id not in found:
                missing.discard(row_id)
                losses += [self._loss(to, row_id, row_id, *about, now_ns) for to in owing(row_id)]
        for row_id, about in found.items():
            missing.discard(row_id)
            losses += [self._loss(to, row_id, row_id, *about, now_ns) for to in owing(row_id)]
        for first, last in missing:
            for to, spans in _needed(first, last, owing).items():
                losses += [self._loss(to, a, b, UNKNOWN, "", 0, now_ns) for a, b in spans]
        yield from in_groups(losses)
        self.progress = 1.0

    def finish(self, report: Mapping[str, object]) -> None:
        """Delete what has been read; where something was lost a report stays, one of the last twenty."""
        if not report.get("lost_rows"):
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        (self.folder / REPORT_NAME).write_text(json.dumps({**report, "why": self._note.get("why", "")}), "utf-8")
        for path in self.folder.iterdir():
            if path.name != REPORT_NAME:
                path.unlink(missing_ok=True)
        reports = sorted(path.parent for path in self.folder.parent.glob(f"*/{REPORT_NAME}"))
        for folder in reports[:-MAX_REPORTS]:
            shutil.rmtree(folder, ignore_errors=True)

    def _records(self, begin: float, end: float) -> Iterator[Record | None]:
        """Yield all records, and None after every few hundred pages."""
        with DamagedFile(self.folder / FILE_NAME) as file:
            for number in range(1, file.page_count + 1):
                yield from file.records(number)
                if number % _PIECE_PAGES == 0:
                    self.progress = begin + (end - begin) * number / file.page_count
                    yield None
        self.progress = end

    def _row(self, record: Record) -> SavedRow | None:
        row_id, values = record.row_id, list(record.values)
        if row_id is None or len(values) not in _ROW_VALUES or values[1] is not None:
            return None
        values += [0, None][: 13 - len(values)]
        epoch, _, device, word, version, count, t_first, t_last, codec, crc, body, kind, anchor = values
        are_numbers = all(isinstance(value, int) for value in (count, t_first, t_last, codec, crc, kind))
        if word not in _CLASSES or not are_numbers or not 0 < row_id <= _LAST_ID:
            return None
        table = self.survey.tables.get(version)
        try:
            table = table or parse_table("")  # raises: it is lost
            about = (epoch, row_id, device, word, version, count, t_first, t_last, codec, crc, anchor, body)
            row = decode_row(about, table, historical=True)
        except OutboxCorruptError:
            if len(self._damaged) < _MAX_DAMAGED:
                device = table.device if table else UNKNOWN
                self._damaged[row_id] = device, word, count if 0 <= count < 2**32 else 0
            return None
        self._damaged.pop(row_id, None)
        self._epoch = epoch
        low, high = self._times or (row.t_first_ns, row.t_last_ns)
        self._times = min(low, row.t_first_ns), max(high, row.t_last_ns)
        values = [epoch, row_id, device, word, count, t_first, t_last, codec, crc, body, kind]
        return SavedRow(table, self.survey.anchors.get(anchor), *values)

    def _loss(
        self, to: PublisherId, first: int, last: int, device: DeviceId, word: str, readings: int, now_ns: int
    ) -> Loss:
        """Say that rows are missing; of their times nothing is known but when the others were taken."""
        times = self._times or (now_ns, now_ns)
        gap = Gap(word, last - first + 1, readings, *times, Reason.DAMAGED, self._epoch, first, last)
        return Loss(device, to, gap)


def _note(folder: Path) -> dict[str, Any]:
    try:
        note = json.loads((folder / NOTE_NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _notice(survey: Survey, record: Record) -> None:
    """Take what a record that is not a row says of rows; and of a row, that it was there."""
    match record.row_id, list(record.values):
        case int() as version, [None, str(), str() as digest, str() as content]:
            try:
                table = parse_table(content)
            except OutboxCorruptError:
                return
            if table.digest == digest:
                survey.tables[version] = table
        case int() as number, [
            None,
            str() as boot_id,
            int() as monotonic_ns,
            int() as wall_ns,
            0 | 1 as is_synced,
        ]:
            survey.anchors[number] = Anchor(boot_id, monotonic_ns, wall_ns, bool(is_synced))
        case None, [str() as publisher, int() as first, int() as last] if publisher not in _CLASSES:
            if 0 < first <= last <= _LAST_ID:
                survey.acknowledged.setdefault(PublisherId(publisher), Ranges()).add(first, last)
        case None, [str() as device, str() as key, str() as value]:
            survey.learned.append((device, key, value))
        case _:
            row_id = _row_id(record)
            if row_id is not None and 0 < row_id <= _LAST_ID:
                survey.expected.add(row_id)
                survey.last_id = max(survey.last_id, row_id)


def _row_id(record: Record) -> int | None:
    match record.row_id, list(record.values):
        case None, [int(), str() as word, int(), int() as row_id] if word in _CLASSES:  # row_by_table
            return row_id
        case None, [str() as word, 0 | 1, int() as row_id] if word in _CLASSES:  # row_by_class
            return row_id
        case int() as row_id, [str(), None, str(), str() as word, *rest] if word in _CLASSES:
            return row_id if len(rest) + 4 in _ROW_VALUES else None
        case _:
            return None


def _indexed(record: Record, tables: Mapping[int, PointTable]) -> tuple[int, tuple[DeviceId, str, int] | None]:
    """Return the row of which an index says how many readings it holds."""
    match record.row_id, list(record.values):
        case None, [int() as version, str() as word, int() as count, int() as row_id] if word in _CLASSES:
            table = tables.get(version)
            return row_id, (table.device if table else UNKNOWN, word, count if 0 <= count < 2**32 else 0)
        case _:
            return 0, None


def _needed(first: int, last: int, owing: Owing) -> dict[PublisherId, Ranges]:
    if last - first > _MAX_DAMAGED:
        return {EVERYBODY: Ranges([(first, last)])}
    needed: dict[PublisherId, Ranges] = {}
    for row_id in range(first, last + 1):
        for publisher in owing(row_id):
            needed.setdefault(publisher, Ranges()).add(row_id)
    return needed
