"""A second copy of the point tables, beside the database: without its table no row can be read.

A page that holds point tables is the one page whose loss would cost every row. Each line is a table for itself;
the last one of a version holds. On the thread of the file.
"""

import json
from contextlib import suppress
from pathlib import Path

from edge_agent.model import PointTable

TABLES_NAME = "point_tables.jsonl"
_MAX_TABLES = 1000
_MAX_BYTES = 16 * 1024 * 1024


class TableCopy:
    """The copy in one folder. What cannot be read is not there, what cannot be written is left out."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TABLES_NAME

    def read(self) -> dict[int, PointTable]:
        """Return the tables by version."""
        tables: dict[int, PointTable] = {}
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return tables
        for line in lines:
            try:
                version, digest, content = json.loads(line)
                table = PointTable.from_json(content)
            except (ValueError, KeyError, TypeError):
                continue
            if table.digest == digest:
                tables[version] = table
        return tables

    def add(self, version: int, table: PointTable) -> None:
        """Append a table; let go of the oldest where there are too many."""
        tables = {version: table}
        try:
            is_large = self._path.stat().st_size > _MAX_BYTES
        except OSError:
            is_large = False
        if is_large:
            tables = dict(sorted((self.read() | tables).items())[-_MAX_TABLES:])
        lines = [json.dumps([number, one.digest, one.to_json()]) for number, one in tables.items()]
        with (
            suppress(OSError),
            self._path.open("wb" if is_large else "ab") as file,
        ):  # else only the database has it
            file.write(("\n" + "\n".join(lines) + "\n").encode())
