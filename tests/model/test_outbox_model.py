"""The outbox does what its model does, whatever happens in whatever order, crashes included."""

import asyncio
import shutil
import tempfile
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.clock import SystemClock
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, PointTable, PublisherId, ReadingClass
from edge_agent.outbox.inspect import status
from edge_agent.outbox.rows import Row, Stream
from edge_agent.outbox.store import FILE_NAME, Cursor, Outbox
from tests.model.outbox_kit import CLOUD, PLANT, batch, numbers, options, table
from tests.model.outbox_model import ModelCursor, ModelRow, OutboxModel

TABLES = [
    table("press-01", "a", "b"),
    table("press-01", "b", "a"),
    table("press-01", "c", alarm=ReadingClass.ALARM, count=ReadingClass.COUNTER),
    table("cnc-07", "a", "b", "c"),
]
PUBLISHERS = [CLOUD, PLANT, PublisherId("mes")]
publisher_sets = st.sampled_from([tuple(c) for size in (1, 2, 3, 0) for c in combinations(PUBLISHERS, size)])
MAX_BYTES = 1_000_000
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system without a disk: thousands of commits, a crash is a copy


class OutboxMachine(RuleBasedStateMachine):
    """Runs the model and the real thing on real files side by side."""

    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()  # type: ignore[misc]
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.lives = 0
        self.number = 0
        self.model = OutboxModel()
        self.cursors: list[tuple[Cursor, ModelCursor]] = []
        self.handed_out: list[tuple[PublisherId, int]] = []
        self.identities: dict[tuple[str, int], tuple[int, ...]] = {}

    @initialize(publishers=publisher_sets, tables=st.lists(st.sampled_from(TABLES), max_size=5), data=st.data())
    def start(self, publishers: tuple[PublisherId, ...], tables: list[PointTable], data: st.DataObject) -> None:
        self.model.configure(publishers)
        self.outbox = self.open(publishers)
        self.collect(tables, is_committed=True, data=data)

    def open(self, publishers: tuple[PublisherId, ...]) -> Outbox:
        opening = Outbox.open(
            options(self.directory), publishers, clock=SystemClock(), metrics=Metrics(), machine="m"
        )
        return self.runner.run(opening)

    @property
    def directory(self) -> Path:
        return self.root / str(self.lives)

    @rule(
        tables=st.lists(st.sampled_from(TABLES), min_size=1, max_size=5),
        is_committed=st.booleans(),
        data=st.data(),
    )
    def collect(self, tables: list[PointTable], is_committed: bool, data: st.DataObject) -> None:
        for of in tables:
            self.number += 1
            points = data.draw(st.lists(st.integers(0, len(of.points) - 1), min_size=1, max_size=3))
            self.runner.run(self.outbox.append(of, batch(of, self.number, points)))
            for word in ReadingClass:
                if any(of.points[index].reading_class is word for index in points):
                    self.model.append(ModelRow(of.device, of.names, word.value, (self.number,)))
        self.outbox.learned(DeviceId("press-01"))["map"] = self.model.learned["map"] = str(self.number)
        if is_committed:
            self.commit()

    @rule()
    def commit(self) -> None:
        self.runner.run(self.outbox.flush())
        self.model.commit()

    @precondition(lambda self: self.model.configured)
    @rule(is_new=st.booleans(), data=st.data())
    def publish(self, is_new: bool, data: st.DataObject) -> None:
        """In a new session or an open one, lease some rows and confirm some of what the publisher ever had."""
        publisher = data.draw(st.sampled_from(self.model.configured))
        mine = [pair for pair in self.cursors if pair[1].publisher == publisher]
        if is_new or not mine:
            mine = [(self.outbox.begin(publisher), ModelCursor(publisher, self.model.last_id))]
            self.cursors += mine
        cursor, expected = data.draw(st.sampled_from(mine))
        if any(self.model.owed(expected, stream) for stream in Stream):
            self.runner.run(cursor.wait())
        for stream in Stream:
            self.lease(cursor, expected, stream, data.draw(st.integers(1, 9)))
        had = sorted({row_id for who, row_id in self.handed_out if who == publisher})
        kind = data.draw(st.sampled_from(["all", "some", "none"]))
        some = st.lists(st.sampled_from(had), max_size=5) if had and kind == "some" else st.just([])
        confirmed = had if kind == "all" else data.draw(some)
        cursor.confirm(confirmed)
        self.model.acknowledged[publisher].update(confirmed)

    def lease(self, cursor: Cursor, expected: ModelCursor, stream: Stream, max_rows: int) -> None:
        owed = self.model.owed(expected, stream)[:max_rows]
        rows = self.runner.run(cursor.lease(stream, max_rows=max_rows, max_bytes=MAX_BYTES))
        assert [row.id for row in rows] == owed
        assert [self.plain(row) for row in rows] == [self.model.rows[row_id] for row_id in owed]
        assert all(row.historical is (stream is Stream.REPLAY) for row in rows)
        expected.leased.update(owed)
        self.handed_out += [(expected.publisher, row_id) for row_id in owed]
        for row in rows:  # an identity means the same readings for ever
            assert self.identities.setdefault((row.epoch, row.id), tuple(numbers([row]))) == tuple(numbers([row]))

    @precondition(lambda self: self.cursors)
    @rule(data=st.data())
    def close_cursor(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.cursors) - 1))
        self.cursors.pop(at)[0].close()

    @rule(publishers=publisher_sets)
    def stop_and_start(self, publishers: tuple[PublisherId, ...]) -> None:
        self.runner.run(self.outbox.close())
        self.model.commit()
        self.begin_life(publishers)

    @rule(publishers=publisher_sets)
    def crash_and_start(self, publishers: tuple[PublisherId, ...]) -> None:
        left = self.root / str(self.lives + 1)
        shutil.copytree(self.directory, left)
        self.runner.run(self.outbox.close())
        self.lives += 1
        self.model.crash()
        self.begin_life(publishers)

    def begin_life(self, publishers: tuple[PublisherId, ...]) -> None:
        self.cursors, self.handed_out = [], []
        self.model.configure(publishers)
        self.outbox = self.open(publishers)
        assert dict(self.outbox.learned(DeviceId("press-01"))) == self.model.learned

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "outbox"):
            return
        summary = self.outbox.summary()
        assert summary["pending"] == {p: self.model.pending(p) for p in self.model.configured}
        assert summary["rows"] == len(self.model.rows)

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            seen = status(self.directory / FILE_NAME)  # another reader, while the file is open
            assert seen["rows"] == len(self.model.rows)
            assert seen["newest_row"] == self.model.last_id
            self.runner.run(self.outbox.close())
        self.runner.close()
        shutil.rmtree(self.root)

    @staticmethod
    def plain(row: Row) -> ModelRow:
        return ModelRow(row.table.device, row.table.names, row.reading_class.value, tuple(numbers([row])))


TestOutboxMachine = pytest.mark.slow(OutboxMachine.TestCase)
TestOutboxMachine.settings = settings(
    max_examples=max(200, settings().max_examples),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
