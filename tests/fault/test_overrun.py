"""An outage longer than the bound: exactly the lowest class and the oldest give way, and every loss is told."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge_agent.metrics import Metrics
from edge_agent.model import ReadingClass
from edge_agent.outbox.rows import Reason, Row, Stream
from edge_agent.outbox.store import FILE_NAME, Outbox
from tests.fault.test_powerloss import noisy, on_file
from tests.model.outbox_kit import CLOUD, PLANT, account, drain, opened, table

MIB = 1024 * 1024
RANK = {"trend": 0, "counter": 1, "event": 2, "alarm": 3}
TABLES = [
    table(device, value=word) for device in ("press-01", "cnc-07") for word in (ReadingClass.TREND, *ReadingClass)
]

Kept = dict[int, tuple[int, int, int]]
"""Row id → in which order rows give way: gap records last, by class, by id."""


async def kept(outbox: Outbox) -> tuple[Kept, dict[int, tuple[str, int]]]:
    """Return the order, and class and number of readings of each row that is no gap record."""
    rows: list[Any] = await on_file(outbox, "SELECT id, class, kind, n FROM row")
    order = {row_id: (kind, RANK[word], row_id) for row_id, word, kind, _ in rows}
    return order, {row_id: (word, n) for row_id, word, kind, n in rows if not kind}


def size_bytes(directory: Path) -> int:
    paths = (directory / FILE_NAME, directory / f"{FILE_NAME}-wal")
    return sum(path.stat().st_size for path in paths if path.exists())


def told(rows: list[Row]) -> Counter[str]:
    """Count what the gap records among ``rows`` say of rows that gave way: rows and readings by class."""
    total: Counter[str] = Counter()
    for row in rows:
        if row.gap is not None and row.gap.rows:
            assert row.gap.reason is Reason.FULL
            total[f"{row.gap.reading_class} rows"] += row.gap.rows
            total[f"{row.gap.reading_class} readings"] += row.gap.readings
    return total


def not_taken(rows: list[Row]) -> int:
    """Count the readings that were never taken: there was nothing lower, nor older of their class, to give way."""
    gaps = [row.gap for row in rows if row.gap is not None and not row.gap.rows]
    assert all(gap.reason is Reason.FULL and gap.reading_class != "alarm" for gap in gaps)
    return sum(gap.readings for gap in gaps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bound", "commits"),
    [(4 * MIB, 500), pytest.param(24 * MIB, 3_000, marks=[pytest.mark.chaos, pytest.mark.timeout(900)])],
)
async def test_exactly_the_lowest_class_and_the_oldest_give_way(memory: Path, bound: int, commits: int) -> None:
    dice, metrics = random.Random(6), Metrics()
    owed: dict[int, tuple[str, int]] = {}
    victims: list[int] = []
    largest = number = at_once = 0
    """``at_once``: readings that gave way in the commit that brought them, all else being of a higher class."""
    before: Kept = {}
    for life in range(4):
        async with opened(memory, CLOUD, PLANT, metrics=metrics, max_bytes=bound) as outbox:
            plant = outbox.begin(PLANT)
            for _ in range(commits // 4):
                for _ in range(dice.randrange(1, 5)):
                    number += 1
                    await outbox.append(
                        of := dice.choice(TABLES), noisy(of, number, dice.choice((200, 6000, 60_000)))
                    )
                await outbox.flush()
                largest = max(largest, size_bytes(memory))
                for stream in Stream:
                    await drain(plant, stream)
                now, readings = await kept(outbox)
                gone = before.keys() - now.keys()
                assert sorted(before, key=before.__getitem__)[: len(gone)] == sorted(gone, key=before.__getitem__)
                victims += gone
                owed |= readings
                before = now
            at_once = account(outbox, PLANT)["dropped"]
            assert at_once <= commits // 100, f"it has all that stayed for a commit, in life {life}"
    async with opened(memory, CLOUD, PLANT, max_bytes=bound) as outbox:
        rows = await drain(outbox.begin(CLOUD))
        await outbox.flush()
        cloud = account(outbox, CLOUD)
    arrived = {row.id for row in rows if row.gap is None}
    missing = owed.keys() - arrived
    expected: Counter[str] = Counter()
    for word, count in (owed[row_id] for row_id in missing):
        expected[f"{word} rows"] += 1
        expected[f"{word} readings"] += count
    dropped = sum(owed[row_id][1] for row_id in missing) + at_once
    print(
        f"bound {bound // MIB} MiB, {len(owed)} rows: {len(missing)} gave way {dict(expected)}, "
        f"told of in {sum(row.gap is not None for row in rows)} gap records, file at most {largest / MIB:.2f} MiB"
    )
    assert missing == set(victims) & owed.keys()
    assert len(missing) > 200
    more = told(rows) - expected
    assert not expected - told(rows)
    assert sum(count for what, count in more.items() if what.endswith("readings")) == at_once
    committed = number - not_taken(rows)
    assert cloud == {"committed": committed, "confirmed": committed - dropped, "dropped": dropped, "pending": 0}
    lost = metrics.registry.get_sample_value("edge_agent_outbox_lost_readings_total", {"reason": "full"})
    assert lost == dropped + not_taken(rows)
    assert largest <= bound
