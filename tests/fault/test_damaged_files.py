"""Truncations and bit flips in the database and its log: it starts, live readings flow, undamaged rows come."""

import asyncio
import contextlib
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import OutboxError
from edge_agent.metrics import Metrics
from edge_agent.model import PublisherId
from edge_agent.outbox.rows import Reason, Row, Stream
from edge_agent.outbox.store import FILE_NAME
from tests.fault.test_powerloss import TABLES, noisy, on_file
from tests.model.outbox_kit import CLOUD, PLANT, batch, drain, numbers, opened, table

DB, WAL = FILE_NAME, f"{FILE_NAME}-wal"
PAGE, FRAME, WAL_HEADER = 4096, 4096 + 24, 32
ROWS, LIVE = 120, range(10_001, 10_006)
WITHIN_S = 10.0
QUIET_TURNS = 10
LIVE_TABLE = table("live-01")


@dataclass(frozen=True)
class Base:
    """An outbox that was killed: some rows are in the database, some in the log only, some in both."""

    directory: Path
    epoch: str
    homes: dict[int, tuple[str, int, int]]
    """Number → where the body of its row was written last: file, begin and end of the page or frame."""


async def made(directory: Path) -> Base:
    """Make one."""
    alive, killed = directory / "alive", directory / "killed"
    bodies = {number: noisy(TABLES[number % 3], number, 700) for number in range(1, ROWS + 1)}
    async with opened(alive, CLOUD, PLANT) as outbox:
        for number, body in bodies.items():
            await outbox.append(TABLES[number % 3], body)
            await outbox.flush()
            if number == ROWS * 2 // 3:
                await on_file(outbox, "PRAGMA wal_checkpoint(TRUNCATE)")
        await asyncio.to_thread(shutil.copytree, alive, killed)
        epoch = outbox.epoch
    homes = {number: home_of(killed, random.Random(number).randbytes(700)) for number in bodies}
    return Base(killed, epoch, homes)


def home_of(directory: Path, content: bytes) -> tuple[str, int, int]:
    found = []
    for name, header, size in ((DB, 0, PAGE), (WAL, WAL_HEADER, FRAME)):
        data, at = (directory / name).read_bytes(), -1
        while (at := data.find(content, at + 1)) >= 0:
            begin = (at - header) // size * size + header
            if at + len(content) <= begin + size:
                found.append((name, begin, begin + size))
    return found[-1]


def damage(directory: Path, dice: random.Random) -> str:
    """Truncate, flip, wipe or garble one of the files; return what was done."""
    path = directory / dice.choice((DB, WAL))
    data = bytearray(path.read_bytes())
    at = dice.choice((dice.randrange(len(data)), dice.randrange(min(len(data), 2 * PAGE))))
    match dice.choice(("truncate", "flip", "flips", "wipe", "garble")):
        case "truncate":
            del data[at:]
            what = f"cut off at {at}"
        case "flip":
            data[at] ^= 1 << dice.randrange(8)
            what = f"one bit at {at}"
        case "flips":
            for _ in range(64):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            what = "64 bits"
        case "wipe":
            data[at : at + PAGE] = bytes(len(data[at : at + PAGE]))
            what = f"a page wiped at {at}"
        case _:
            data[at : at + 512] = dice.randbytes(len(data[at : at + 512]))
            what = f"a sector garbled at {at}"
    path.write_bytes(data)
    return f"{path.name}: {what}"


def undamaged(base: Base, directory: Path) -> set[int]:
    """Return the rows whose page or frame is as it was."""
    files = {name: ((base.directory / name).read_bytes(), (directory / name).read_bytes()) for name in (DB, WAL)}
    return {
        number
        for number, (name, begin, end) in base.homes.items()
        if files[name][0][begin:end] == files[name][1][begin:end]
    }


async def survive(directory: Path) -> tuple[dict[PublisherId, list[Row]], float]:
    """Start, write live readings, deliver all; return each publisher's rows, and how long live data took."""
    metrics, begin_s, took_s, quiet = Metrics(), time.monotonic(), 0.0, 0
    rows: dict[PublisherId, list[Row]] = {publisher: [] for publisher in (CLOUD, PLANT)}
    async with (
        opened(directory, *rows, metrics=metrics, commit_interval_s=0.005) as outbox,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(outbox.run())
        cursors = {publisher: outbox.begin(publisher) for publisher in rows}
        for number in LIVE:
            await outbox.append(LIVE_TABLE, batch(LIVE_TABLE, number))
        while True:
            is_saved = metrics.registry.get_sample_value("edge_agent_outbox_salvage_progress") in {None, 1.0}
            with contextlib.suppress(OutboxError):  # it may just find out; ``run`` mends what is damaged
                await outbox.flush()
            before = sum(map(len, rows.values()))
            for publisher, cursor in cursors.items():
                for stream in Stream:
                    rows[publisher] += await drain(cursor, stream)
            came = sum(map(len, rows.values()))
            if not took_s and all(set(LIVE) <= set(numbers(got)) for got in rows.values()):
                took_s = time.monotonic() - begin_s
            pending: Any = outbox.summary()["pending"]
            state = f"live after {took_s}, saved {is_saved}, {came} rows came, {outbox.summary()}"
            assert time.monotonic() - begin_s < WITHIN_S, f"it does not come to rest: {state}"
            is_quiet = took_s and is_saved and came == before and not any(pending.values())
            quiet = quiet + 1 if is_quiet else 0
            if quiet == QUIET_TURNS:
                break
            await asyncio.sleep(0.005)
        running.cancel()
    return rows, took_s


def judge(base: Base, intact: set[int], rows: list[Row], what: str) -> int:
    """Return how many rows a publisher lost, each of them told of."""
    data = [row for row in rows if row.gap is None]
    seen = set(numbers(data)) - set(LIVE)
    lost = set(base.homes) - seen
    assert seen <= set(base.homes), f"{what}: readings that nobody appended: {sorted(seen - set(base.homes))}"
    for row in data:
        is_live = row.table.device == LIVE_TABLE.device
        assert is_live or (row.epoch, [row.id]) == (base.epoch, numbers([row])), f"{what}: row {row.id} is another"
    assert intact <= seen, f"{what}: {len(intact - seen)} undamaged rows are lost, {sorted(intact - seen)[:5]}"
    told = sum(row.gap.rows for row in rows if row.gap is not None)
    assert all(row.gap.reason is Reason.DAMAGED for row in rows if row.gap is not None)
    assert told == len(lost), f"{what}: {len(lost)} rows are lost, {told} told of"
    return len(lost)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        pytest.param(130_246, 130_246 + PAGE, id="rows-given-up-before-the-file-is-set-aside"),
        pytest.param(131_072, None, id="rows-back-while-a-lease-looks-for-them"),
        pytest.param(158_600, None, id="the-same-later"),
    ],
)
async def test_what_is_told_of_is_what_is_lost(memory: Path, begin: int, end: int | None) -> None:
    base = await made(memory)
    directory = memory / "damaged"
    await asyncio.to_thread(shutil.copytree, base.directory, directory)
    path = directory / DB
    content = path.read_bytes()
    path.write_bytes(content[:begin] + (bytes(end - begin) + content[end:] if end else b""))
    intact = undamaged(base, directory)
    rows, _ = await survive(directory)
    for publisher, got in rows.items():
        judge(base, intact, got, publisher)


@pytest.mark.slow
@pytest.mark.parametrize(
    "count",
    [
        40,
        pytest.param(200, marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
        pytest.param(5000, marks=[pytest.mark.nightly, pytest.mark.timeout(7200)]),
    ],
)
def test_damaged_files_cost_what_is_damaged_and_no_more(memory: Path, count: int) -> None:
    base = asyncio.run(made(memory))
    lost, slowest_s, harmless = 0, 0.0, 0
    for seed in range(count):
        directory = memory / "damaged"
        shutil.copytree(base.directory, directory)
        what = f"seed {seed}, {damage(directory, random.Random(seed))}"
        intact = undamaged(base, directory)
        rows, took_s = asyncio.run(survive(directory))
        now_lost = max(judge(base, intact, got, f"{what}, {publisher}") for publisher, got in rows.items())
        lost, harmless = lost + now_lost, harmless + (now_lost == 0)
        slowest_s = max(slowest_s, took_s)
        shutil.rmtree(directory)
    print(
        f"{count} damaged files: live readings after at most {slowest_s:.2f} s; {lost} of {count * ROWS} rows "
        f"could not be saved, all told of; {harmless} cost nothing"
    )
    assert slowest_s < WITHIN_S
