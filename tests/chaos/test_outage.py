"""An outage of days, scaled: memory stays flat, the backlog drains fast, and what is live does not wait for it."""

import asyncio
import time
from array import array
from pathlib import Path

import psutil
import pytest

from edge_agent.clock import SystemClock
from edge_agent.metrics import Metrics
from edge_agent.model import Column, DataType, DeviceId, Point, PointName, PointTable, PublisherId, ReadingBatch
from edge_agent.outbox.options import OutboxOptions
from edge_agent.outbox.store import Outbox
from tests.bench.modbus import plc
from tests.e2e.oracle import committed_rows
from tests.e2e.plant import lasting_mosquitto, until
from tests.servers.agent import AgentProcess
from tests.servers.row_counter import row_counter

POINTS, SCANS, DEVICES = 100, 10, 10
ROW_READINGS = POINTS * SCANS
LIVE_DEVICES, LIVE_POINTS = 10, 100  # every second: 1,000 readings/s, as in the 72 hours
WANTED_PER_S = 50_000


def live_yaml(plc_port: int, broker_port: int) -> str:
    lines = [
        "gateway: {id: gw-outage}",
        'identifiers: {prefix: "88.000.7", allow_placeholder: true}',
        "publishers:",
        f'  - {{id: cloud, type: mqtt, servers: ["mqtt://127.0.0.1:{broker_port}"], retry_max: 2s}}',
        "devices:",
    ]
    for number in range(LIVE_DEVICES):
        lines += [f"  - id: plc-{number}", "    driver: modbus", f"    host: 127.0.1.{1 + number}"]
        lines += [f"    port: {plc_port}", "    interval: 1s", "    points:"]
        lines += [f"      - {{name: p{n}, holding: {n}, type: uint16}}" for n in range(LIVE_POINTS)]
    return "\n".join(lines) + "\n"


def fill(directory: Path, readings: int) -> None:
    """Let an outage of long ago have left ``readings`` in the outbox."""
    points = tuple(Point(PointName(f"p{n}")) for n in range(POINTS))
    tables = [PointTable(DeviceId(f"plc-{n}"), points) for n in range(DEVICES)]
    indexes = array("H", range(POINTS))

    async def write() -> None:
        options = OutboxOptions(directory, commit_bytes=2**22)
        outbox = await Outbox.open(options, [PublisherId("cloud")], clock=SystemClock(), metrics=Metrics())
        time_ns = time.time_ns() - 72 * 3600 * 10**9
        for scan in range(readings // (DEVICES * POINTS)):
            values = array("f", (20.0 + (scan * 7 + n) % 1000 / 8 for n in range(POINTS)))
            column = Column(DataType.FLOAT32, indexes, values)
            for table in tables:
                await outbox.append(table, ReadingBatch(table.device, time_ns + scan * 10**9, (column,)))
            if scan % SCANS == SCANS - 1:
                await outbox.flush()
        await outbox.close()

    asyncio.run(write())


def rss_mib(one: AgentProcess) -> float:
    assert one.process is not None
    return float(psutil.Process(one.process.pid).memory_info().rss) / 2**20


def latency_s(before: dict[str, float], after: dict[str, float], share: float) -> float:
    """Return the bucket in which this share of the live readings was delivered."""
    name = "edge_agent_delivery_seconds_bucket|"
    buckets = sorted(
        (float(key.removeprefix(name)), after[key] - before[key]) for key in after if key.startswith(name)
    )
    return next(bound_s for bound_s, count in buckets if count >= share * buckets[-1][1])


@pytest.mark.parametrize(
    ("readings", "outage_s"),
    [
        pytest.param(30_000_000, 30, marks=[pytest.mark.chaos, pytest.mark.timeout(900)]),
        pytest.param(259_200_000, 600, marks=[pytest.mark.nightly, pytest.mark.timeout(6 * 3600)]),
    ],
)
def test_an_outage_of_days_costs_no_memory_and_the_backlog_drains_beside_live_readings(
    tmp_path: Path, readings: int, outage_s: int
) -> None:
    with lasting_mosquitto() as broker, row_counter(broker.port) as counter, plc() as plc_port:
        broker.stop()
        one = AgentProcess(tmp_path, live_yaml(plc_port, broker.port), "1s")
        fill(one.state, readings)
        begin_s = time.monotonic()
        one.start()
        start_s = time.monotonic() - begin_s
        time.sleep(15)
        rss = [rss_mib(one)]
        for _ in range(6):
            time.sleep(outage_s / 6)
            rss.append(rss_mib(one))
        before, most = one.metrics(), rss[-1]
        broker.start()
        until(lambda: one.metrics()["edge_agent_publisher_up"], "the agent is connected")
        begin_s = time.monotonic()
        while one.metrics()["edge_agent_outbox_pending_rows"] > 3 * LIVE_DEVICES:
            time.sleep(0.5)
            most = max(most, rss_mib(one))
        took_s, after = time.monotonic() - begin_s, one.metrics()
        assert one.stop() == 0
        one.write(one.yaml.replace("    driver: modbus", "    enabled: false\n    driver: modbus"))
        one.start()
        until(lambda: one.metrics()["edge_agent_outbox_pending_rows"] == 0, "the outbox is empty")
        assert one.stop() == 0
        committed = {row for _, row in committed_rows(one.state)}
        until(lambda: committed <= counter.rows, "every row arrives", within_s=60)
    per_s = (
        after["edge_agent_acknowledged_readings_total"] - before["edge_agent_acknowledged_readings_total"]
    ) / took_s
    live_s = latency_s(before, after, 0.99)
    print(
        f"outage: {readings:,} readings queued, start {start_s:.1f} s, RSS {rss[0]:.0f} → {rss[-1]:.0f} MiB while "
        f"it lasted, at most {most:.0f} while draining; drained in {took_s:.0f} s, "
        f"{per_s:,.0f} readings/s; live p99 ≤ {live_s:g} s; "
        f"lost {len(committed - counter.rows)}, unexpected {len(counter.rows - committed)}, "
        f"duplicated {counter.duplicated}, recovered {len(committed)} rows"
    )
    assert start_s < 10
    assert rss[-1] - rss[0] < 8
    assert most < 150
    assert counter.rows == committed
    assert per_s >= WANTED_PER_S
    assert live_s <= 2
