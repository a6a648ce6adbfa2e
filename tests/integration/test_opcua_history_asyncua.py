"""Backfill from a second historian: asyncua's, in SQLite, which says nothing of what it leaves out."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asyncua import Server, ua
from asyncua.server.history_sql import HistorySQLite

from edge_agent.model import LossReason
from edge_agent.testing.eventually import eventually
from edge_agent_opcua.services import HISTORY_VALUES
from tests.servers.link import Link, Proxy, proxy
from tests.servers.opcua.open_asyncua import open_asyncua
from tests.servers.opcua.reading import readings
from tests.servers.supervised_opcua import Supervised

pytestmark = pytest.mark.slow
PERIOD_S = 0.01


class _Storage(HistorySQLite):  # type: ignore[misc]  # the library has no types
    """The library's own names of tables are refused by itself where a node's id is a text."""

    def _get_table_name(self, node_id: ua.NodeId) -> str:
        return f"{node_id.NamespaceIndex}_{node_id.Identifier}"


class _EndlessStorage(_Storage):
    """Has one value more each time that it is asked, a little later than the one before, and takes its time."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.asked = 0

    async def read_node_history(
        self, _node_id: ua.NodeId, start: datetime, _end: datetime, _count: int
    ) -> tuple[list[ua.DataValue], datetime]:
        self.asked += 1
        await asyncio.sleep(PERIOD_S)
        at = start + timedelta(microseconds=100)
        variant = ua.Variant(-self.asked, ua.VariantType.Int32)
        return [ua.DataValue(variant, SourceTimestamp=at, ServerTimestamp=at)], at


@dataclass
class Historian:
    """Serves Counter, kept since it was 0, and Sine, kept nowhere, behind a link; ``count`` is their value."""

    way: Proxy
    storage: _Storage
    count: int = 0


@pytest.fixture
async def historian(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Historian]:
    server = Server()
    storage: _Storage = getattr(request, "param", _Storage)(str(tmp_path / "history.db"))
    server.iserver.history_manager.set_storage(storage)
    _, url, index = await open_asyncua(server)
    counter, sine = [
        await server.nodes.objects.add_variable(ua.NodeId(name, index), name, 0, ua.VariantType.Int32)
        for name in ("Counter", "Sine")
    ]

    async def count(serving: Historian) -> None:
        for serving.count in itertools.count(1):
            for variable in (counter, sine):
                await variable.write_value(serving.count, ua.VariantType.Int32)
            await asyncio.sleep(PERIOD_S)

    async with server:
        await server.historize_node_data_change(counter, period=None)
        with proxy(int(url.rpartition(":")[2])) as link:
            async with asyncio.TaskGroup() as group:
                serving = Historian(link, storage)
                counting = group.create_task(count(serving))
                yield serving
                counting.cancel()


async def test_an_outage_of_more_values_than_one_answer_holds_comes_whole(historian: Historian) -> None:
    way = historian.way
    device = Supervised(f"opc.tcp://127.0.0.1:{way.port}", sampling_interval="10ms", queue_size=1000)

    def told(*, historical: bool) -> list[tuple[int, int]]:
        return [
            (reading.value, reading.time_ns)
            for batch in device.kept
            if batch.historical is historical
            for point, reading in readings(batch, device.config)
            if point == "Counter" and reading.value is not None
        ]

    async with device.running():
        await eventually(lambda: device.is_fresh)
        way.link, begun = Link.HALF_OPEN, historian.count
        await eventually(lambda: device.losses)
        await eventually(lambda: historian.count > begun + 1.1 * HISTORY_VALUES, within_s=60)
        count = len(told(historical=False))
        way.link = Link.GOOD
        await eventually(lambda: device.is_fresh)
        resumed = told(historical=False)[count][0]
        await eventually(lambda: told(historical=True) and told(historical=True)[-1][0] >= resumed - 1)
    fetched, live = told(historical=True), told(historical=False)
    lags_ns = [
        reading.server_ns - reading.time_ns
        for batch in device.kept
        if batch.historical
        for _, reading in readings(batch, device.config)
    ]
    assert any(lags_ns), "the server dates a value after its source, and its history has both"
    assert all(0 <= lag_ns < 60 * 10**9 for lag_ns in lags_ns)
    values = [value for value, _ in fetched]
    assert len(fetched) > HISTORY_VALUES
    assert values == sorted(set(values)), "the history came twice, or not in its order"
    seen = {value for value, _ in fetched} | {value for value, _ in live}
    missing = set(range(min(seen), max(seen) + 1)) - seen
    assert missing == set(), "asyncua's clock is told once a second"
    assert device.lost == []


@pytest.mark.parametrize("historian", [_EndlessStorage], indirect=True)
async def test_a_history_that_never_ends_is_a_loss_after_its_time_and_costs_nothing_fresh(
    historian: Historian,
) -> None:
    way, storage = historian.way, historian.storage
    assert isinstance(storage, _EndlessStorage)
    device = Supervised(f"opc.tcp://127.0.0.1:{way.port}", backfill_timeout="1s")
    async with device.running():
        await eventually(lambda: device.is_fresh)
        way.link = Link.HALF_OPEN
        await eventually(lambda: device.losses)
        way.link = Link.GOOD
        await eventually(lambda: storage.asked > 3)
        assert device.lost == []
        await eventually(lambda: device.lost)
        asked, live = storage.asked, len(device.kept)
        await eventually(lambda: len(device.kept) > live + 5)
        assert storage.asked <= asked + 1, "but for the request that was out"
    (lost,) = device.lost
    assert (lost.points, lost.reason, lost.readings) == ((0,), LossReason.OUTAGE, 0)
    assert sum(batch.historical for batch in device.kept) > 3
