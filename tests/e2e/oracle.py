"""What arrived, against what was committed: lost, unexpected, duplicated, recovered."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.subscriber import Received

Identity = tuple[str, str, int, str, int]
"""Device, epoch, row, point, k: equal for two copies of one reading, different for two readings."""


@dataclass
class Oracle:
    """Takes messages as they came; says what is wrong with them."""

    readings: dict[Identity, Any] = field(default_factory=dict)
    first_seen: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """By device and epoch: rows in the order of their first arrival."""
    rows: set[tuple[str, int]] = field(default_factory=set)
    duplicated: int = 0
    historical: int = 0
    codes: set[str] = field(default_factory=set)

    def take(self, messages: Iterable[Received]) -> None:
        """Count every data message; a copy that differs from the first one fails at once."""
        for message in messages:
            if message.topic.endswith("/data"):
                self._take(message.json())

    def _take(self, body: dict[str, Any]) -> None:
        self.codes.add(body.get("code", ""))
        for row in body["rows"]:
            key = (body["epoch"], row["row"])
            if key not in self.rows:
                self.rows.add(key)
                self.first_seen.setdefault((body["device"], body["epoch"]), []).append(row["row"])
            self.historical += row["historical"]
            for name, columns in row["points"].items():
                for k, value in enumerate(columns["v"]):
                    identity = (body["device"], body["epoch"], row["row"], name, k)
                    if identity in self.readings:
                        self.duplicated += 1
                        assert self.readings[identity] == value, f"two values for {identity}"
                    self.readings[identity] = value

    def missing(self, state: Path) -> set[tuple[str, int]]:
        """Return the rows that were ever committed and did not arrive."""
        return committed_rows(state) - self.rows

    def unexpected(self, state: Path) -> set[tuple[str, int]]:
        """Return the rows that arrived and were never committed."""
        return self.rows - committed_rows(state)

    def report(self, state: Path) -> str:
        """Return the four numbers."""
        lost, unexpected = self.missing(state), self.unexpected(state)
        return (
            f"lost {len(lost)}, unexpected {len(unexpected)}, duplicated {self.duplicated}, "
            f"recovered {self.historical} of {len(self.rows)} rows, {len(self.readings)} readings"
        )


def committed_rows(state: Path) -> set[tuple[str, int]]:
    """Return every row that was ever committed, delivered ones too: ids are given out once, in order."""
    with closing(sqlite3.connect(f"file:{state / 'outbox.db'}?mode=ro", uri=True)) as db:
        (last,) = db.execute("select seq from sqlite_sequence where name = 'row'").fetchone() or (0,)
        (epoch,) = db.execute("select value from meta where key = 'epoch'").fetchone()
    return {(epoch, row) for row in range(1, last + 1)}
