"""What the outbox writes to the disk is measured where the kernel counts it, and warned of."""

import os
import threading
from array import array
from math import sin
from pathlib import Path

import pytest

from edge_agent.metrics import Metrics
from edge_agent.model import Column, DataType, ReadingBatch
from edge_agent.outbox.wear import Budget, Wear
from tests.model.outbox_kit import CLOUD, T0_NS, batch, opened, table

WIDE = table("wide", *(f"p{k}" for k in range(100)))
DAY_S = 86_400


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wear")


def test_what_this_thread_writes_is_counted_and_what_another_writes_is_not(disk: Path) -> None:
    wear = Wear()

    def write(name: str) -> None:
        with (disk / name).open("wb") as file:
            file.write(bytes(1_000_000))
            os.fsync(file.fileno())

    other = threading.Thread(target=write, args=("theirs",))
    other.start()
    other.join()
    assert wear.take() < 100_000
    write("ours")
    assert 1_000_000 <= wear.take() < 1_200_000
    assert wear.take() == 0


def test_a_budget_is_passed_once_a_day() -> None:
    budget = Budget(1000, 0.0)
    assert [budget.add(400, second) for second in (1, 2, 3, 4)] == [False, False, True, False]
    assert budget.is_passed
    assert not budget.add(400, DAY_S + 1)
    assert (budget.written_bytes, budget.is_passed) == (400, False)
    assert not Budget(None, 0.0).add(10**12, 1)


async def test_passing_the_budget_is_told_once_and_shown(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    async with opened(disk, CLOUD, metrics=metrics, write_budget_bytes=20_000) as outbox:
        for number in range(20):
            await outbox.append(WIDE, batch(WIDE, number, range(100)))
            await outbox.flush()
        written = outbox.summary()["written_today_bytes"]
    assert isinstance(written, int)
    assert written > 20_000
    value = metrics.registry.get_sample_value
    assert value("edge_agent_outbox_written_bytes_total") >= written  # type: ignore[operator]
    assert value("edge_agent_outbox_write_budget_passed") == 1
    assert ["write_budget" in record.message for record in caplog.records] == [True]


async def test_a_reading_costs_few_bytes_on_the_disk(disk: Path) -> None:
    """A thousand readings a second for a minute: what goes to the flash for each, everything included."""
    metrics = Metrics()
    points, scans, seconds = 100, 10, 60
    async with opened(disk, CLOUD, metrics=metrics, commit_bytes=1_000_000) as outbox:
        for number in range(seconds * scans):
            await outbox.append(WIDE, _scan(number, points))
            if number % scans == scans - 1:
                await outbox.flush()
    written = metrics.registry.get_sample_value("edge_agent_outbox_written_bytes_total")
    assert written is not None
    cost = written / (points * scans * seconds)
    print(f"written to the disk: {cost:.1f} bytes/reading")
    assert 5 < cost < 60


def _scan(number: int, points: int) -> ReadingBatch:
    values = array("f", [20 + 5 * sin(k + number / 9) for k in range(points)])
    column = Column(DataType.FLOAT32, array("H", range(points)), values)
    return ReadingBatch(WIDE.device, T0_NS + number * 100_000_000, (column,))
