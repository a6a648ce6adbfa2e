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


GENERATION_ROWS = 2**40
"""A log that replaces a damaged one numbers its rows from the next multiple of this."""


@dataclass(frozen=True)
class Told:
    """What a gap record says: so many rows of these are missing."""

    device: str
    reading_class: str
    reason: str
    epoch: str
    first: int
    last: int
    rows: int
    readings: int


@dataclass
class Oracle:
    """Takes messages as they came; says what is wrong with them."""

    readings: dict[Identity, Any] = field(default_factory=dict)
    first_seen: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """By device and epoch: rows in the order of their first arrival."""
    rows: set[tuple[str, int]] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    lags_us: dict[Identity, int] = field(default_factory=dict)
    """By how much a server's time is later, of the readings that have one."""
    duplicated: int = 0
    historical: int = 0
    codes: set[str] = field(default_factory=set)

    def take(self, messages: Iterable[Received]) -> None:
        """Count every data and gap message; a copy that differs from the first one fails at once."""
        for message in messages:
            if message.topic.endswith("/data"):
                self._take(message.json())
            elif message.topic.endswith("/gap"):
                self._take_gap(message.json())

    def _take(self, body: dict[str, Any]) -> None:
        self.codes.add(body.get("code", ""))
        for row in body["rows"]:
            key = (body["epoch"], row["row"])
            if key not in self.rows:
                self.rows.add(key)
                self.first_seen.setdefault((body["device"], body["epoch"]), []).append(row["row"])
            self.historical += row["historical"]
            for name, columns in row["points"].items():
                lags_us = columns.get("lag_us", [0] * len(columns["v"]))
                assert any(columns.get("lag_us", [1])), f"a list that says nothing: {name} in {key}"
                for k, (value, _, lag_us) in enumerate(zip(columns["v"], columns["dt_us"], lags_us, strict=True)):
                    identity = (body["device"], body["epoch"], row["row"], name, k)
                    if identity in self.readings:
                        self.duplicated += 1
                        assert self.readings[identity] == value, f"two values for {identity}"
                        assert self.lags_us.get(identity, 0) == lag_us, f"two times of a server for {identity}"
                    self.readings[identity] = value
                    if lag_us:
                        self.lags_us[identity] = lag_us

    def _take_gap(self, body: dict[str, Any]) -> None:
        if (body["epoch"], body["row"]) in self.rows:
            return
        self.rows.add((body["epoch"], body["row"]))
        missing = body.get("missing", {"epoch": "", "first": 0, "last": 0})
        self.told.append(
            Told(
                body["device"],
                body["class"],
                body["reason"],
                missing["epoch"],
                missing["first"],
                missing["last"],
                body["rows"],
                body["readings"],
            )
        )

    def missing(self, state: Path) -> set[tuple[str, int]]:
        """Return the rows that were ever committed and did not arrive."""
        return committed_rows(state) - self.rows

    def told_rows(self) -> int:
        """Return how many rows the gap records say are missing."""
        return sum(one.rows for one in self.told)

    def unexplained(self, state: Path) -> set[tuple[str, int]]:
        """Return the rows that are missing and that no gap record speaks of."""
        return {
            (epoch, row)
            for epoch, row in self.missing(state)
            if not any(one.epoch == epoch and one.first <= row <= one.last for one in self.told)
        }

    def unexpected(self, state: Path) -> set[tuple[str, int]]:
        """Return the rows that arrived and were never committed."""
        return self.rows - committed_rows(state)

    def report(self, state: Path) -> str:
        """Return the four numbers."""
        lost, unexpected = len(self.missing(state)) - self.told_rows(), self.unexpected(state)
        told = f", told of in {len(self.told)} gap records {self.told_rows()}" if self.told else ""
        return (
            f"lost {lost}, unexpected {len(unexpected)}, duplicated {self.duplicated}, "
            f"recovered {self.historical} of {len(self.rows)} rows, {len(self.readings)} readings{told}"
        )


def committed_rows(state: Path) -> set[tuple[str, int]]:
    """Return every row that was ever committed, delivered ones too: ids are given out once, in order."""
    with closing(sqlite3.connect(f"file:{state / 'outbox.db'}?mode=ro", uri=True)) as db:
        (last,) = db.execute("select seq from sqlite_sequence where name = 'row'").fetchone() or (0,)
        (epoch,) = db.execute("select value from meta where key = 'epoch'").fetchone()
    first = last // GENERATION_ROWS * GENERATION_ROWS + 1
    return {(epoch, row) for row in range(first, last + 1)}
