"""The outbox does what its model does, whatever happens in whatever order, crashes included."""

import asyncio
import random
import shutil
import sqlite3
import tempfile
from array import array
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.clock import SystemClock
from edge_agent.metrics import Metrics
from edge_agent.model import Column, DataType, DeviceId, PointTable, PublisherId, ReadingBatch, ReadingClass
from edge_agent.outbox.inspect import status
from edge_agent.outbox.rows import Row, Stream
from edge_agent.outbox.store import FILE_NAME, Cursor, Outbox
from tests.model.outbox_kit import CLOUD, PLANT, T0_NS, account, batch, drain, numbers, options, table
from tests.model.outbox_model import ModelCursor, ModelRow, OutboxModel

TABLES = [
    table("press-01", "a", "b"),
    table("press-01", "b", "a"),
    table("press-01", "c", alarm=ReadingClass.ALARM, count=ReadingClass.COUNTER),
    table("cnc-07", "a", "b", "c"),
]
FILLERS = [table("bulk", "blob"), table("bulk", blob=ReadingClass.EVENT), table("bulk", blob=ReadingClass.ALARM)]
FILLER_BYTES = 20_000
BOUND = 400_000
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
        self.told: set[int] = set()
        self.spoiled: set[int] = set()
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
            options(self.directory, max_bytes=BOUND),
            publishers,
            clock=SystemClock(),
            metrics=Metrics(),
            machine="m",
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
                    count = sum(of.points[index].reading_class is word for index in points)
                    self.model.append(ModelRow(of.device, of.names, word.value, (self.number,), count))
        self.outbox.learned(DeviceId("press-01"))["map"] = self.model.learned["map"] = str(self.number)
        if is_committed:
            self.commit()

    @rule()
    def commit(self) -> None:
        self.runner.run(self.outbox.flush())
        self.settle()

    @rule(of=st.sampled_from(FILLERS), count=st.integers(2, 6), is_committed=st.booleans())
    def fill(self, of: PointTable, count: int, is_committed: bool) -> None:
        """Bring in what takes most of the bound, so that something gives way."""
        for _ in range(count):
            self.number += 1
            text = [random.Random(self.number).randbytes(FILLER_BYTES)]
            column = Column(DataType.BYTES, array("H", [0]), text)
            self.runner.run(self.outbox.append(of, ReadingBatch(of.device, T0_NS + self.number, (column,))))
            word = of.points[0].reading_class.value
            self.model.append(ModelRow(of.device, of.names, word, (self.number,), 1))
        if is_committed:
            self.commit()

    @precondition(lambda self: self.model.configured)
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """Spoil a row on disk and let a publisher come across it."""
        self.commit()
        publisher = data.draw(st.sampled_from(self.model.configured))
        owed = [row_id for row_id in sorted(self.model.rows) if self.model.is_owed(publisher, row_id)]
        if not owed:
            return
        spoiled = data.draw(st.sampled_from(owed))
        self.runner.run(self.spoil(spoiled))
        cursor = self.outbox.begin(publisher)
        left = [row_id for row_id in owed if row_id != spoiled]
        assert [row.id for row in self.runner.run(drain(cursor, confirm=False))] == left
        cursor.close()
        self.spoiled.add(spoiled)
        self.commit()

    async def spoil(self, row_id: int) -> None:
        script = f"UPDATE row SET crc = crc + 1 WHERE id = {row_id}"  # noqa: S608 - a number of ours
        file = self.outbox._keeper.file
        assert file is not None
        await asyncio.get_running_loop().run_in_executor(self.outbox._thread, file._sql.execute, script)

    def settle(self) -> None:
        """Let the model do what it must do, and see that what gave way was allowed to, and was told of."""
        model = self.model
        connection = sqlite3.connect(f"file:{self.directory / FILE_NAME}?mode=ro", uri=True)
        on_disk = {
            row[0]: row[1:] for row in connection.execute("SELECT id, kind, device, class, t_first FROM row")
        }
        found = (
            "SELECT device, publisher, rows, readings, row_first, id FROM loss WHERE is_reported = 1 ORDER BY id"
        )
        losses = [loss for loss in connection.execute(found) if loss[-1] not in self.told]
        self.told |= {loss[-1] for loss in losses}
        new = {(*row[1:3], row[3] - T0_NS) for i, row in on_disk.items() if i > model.last_id and row[0] == 0}
        refused = [row for row in model.buffer if (row.device, row.reading_class, row.numbers[0]) not in new]
        came = len(model.buffer) - len(refused)
        first_new = model.last_id + 1
        owed = {p: {i for i in model.rows if model.is_owed(p, i)} for p in model.configured}
        before = dict(model.rows)
        model.commit(refused)
        victims = model.rows.keys() - on_disk.keys()
        for row_id, row in [(row_id, model.rows.pop(row_id)) for row_id in victims]:
            if row_id not in self.spoiled:
                self.may_give_way(row_id, row, first_new)
        for row in refused:
            for other_id, other in model.rows.items():
                assert other.rank >= row.rank + (other_id < first_new), "it could have had room"
        for publisher in model.configured:
            missing = {row_id for row_id in victims & owed[publisher] if not before[row_id].is_gap}
            mine = [loss for loss in losses if loss[1] in {"*", publisher} and loss[4]]
            assert sum(loss[2] for loss in mine) == len(missing)
            assert sum(loss[3] for loss in mine) == sum(before[row_id].readings for row_id in missing)
        self.spoiled -= victims
        for device, publisher, *_ in losses:
            model.tell(device, publisher)
        model.keep()
        assert {i: row.is_gap for i, row in model.rows.items()} == {i: bool(row[0]) for i, row in on_disk.items()}
        assert came == sum(first_new <= row_id < first_new + came for row_id in model.rows) or refused or victims
        connection.close()

    def may_give_way(self, row_id: int, row: ModelRow, first_new: int) -> None:
        """The lowest class first, the oldest first; what came with the same commit came after."""
        for other_id, other in self.model.rows.items():
            if other_id < first_new:
                assert (other.rank, other_id) > (row.rank, row_id)

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
        self.settle()
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
        for publisher in self.model.configured:
            assert account(self.outbox, publisher)["pending"] == self.model.pending_readings(publisher)

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
        about = row.table.device, row.table.names, row.reading_class.value
        return ModelRow(*about, tuple(numbers([row])), row.count)


TestOutboxMachine = pytest.mark.slow(OutboxMachine.TestCase)
TestOutboxMachine.settings = settings(
    max_examples=max(200, settings().max_examples),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
