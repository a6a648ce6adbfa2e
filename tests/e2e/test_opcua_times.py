"""Both times of an OPC UA reading at a subscriber: fresh, and from a backlog that a killed agent left."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.oracle import Oracle
from tests.e2e.plant import head_yaml, settled, until
from tests.servers.agent import AgentProcess
from tests.servers.mosquitto import mosquitto
from tests.servers.opcua.described_asyncua import described_asyncua_server
from tests.servers.opcua_server import NAMESPACE, opcua_server
from tests.servers.subscriber import Subscriber, subscriber

pytestmark = pytest.mark.slow
SOURCE = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
SERVER = datetime(2026, 1, 2, 9, 4, 5, 679_000, UTC)
MICROSECOND = timedelta(microseconds=1)


def yaml_of(url: str) -> str:
    node = f"nsu={NAMESPACE};s=Dated"
    points = f"[{{name: told, node: '{node}'}}, {{name: asked, node: '{node}', mode: poll, interval: 200ms}}]"
    return f"  - {{id: cnc-07, driver: opcua, url: '{url}', points: {points}}}\n"


def times(received: Subscriber, point: str) -> list[tuple[datetime, datetime, bool]]:
    """Return source time, server time and whether it was sent from the backlog, of each reading of a point."""
    found = []
    for message in received.on("/cnc-07/data"):
        for row in message.json()["rows"]:
            columns: dict[str, Any] = row["points"].get(point, {"v": [], "dt_us": []})
            t, lags_us = datetime.fromisoformat(row["t"]), columns.get("lag_us", [0] * len(columns["v"]))
            for value, dt_us, lag_us in zip(columns["v"], columns["dt_us"], lags_us, strict=True):
                if value is not None:
                    source = t + dt_us * MICROSECOND
                    found.append((source, source + lag_us * MICROSECOND, row["historical"]))
    return found


def both_arrive(tmp_path: Path, url: str) -> dict[str, set[datetime]]:
    """Return the server's times of each point, of readings that all have the source's."""
    oracle = Oracle()
    with mosquitto() as broker:
        broker.stop()
        one = AgentProcess(tmp_path, head_yaml(broker) + yaml_of(url))
        one.start()
        until(lambda: one.metrics()["edge_agent_outbox_committed_readings_total"] > 5, "a backlog")
        one.kill()
        broker.start()
        with subscriber(broker.port) as received:
            one.start()
            until(lambda: {told for *_, told in times(received, "asked")} == {True, False}, "old and new")
            assert one.stop() == 0
            settled(oracle, received, one)
    assert not oracle.missing(one.state)
    assert len(oracle.lags_us) > 5
    told = {point: times(received, point) for point in ("told", "asked")}
    assert {source for readings in told.values() for source, *_ in readings} == {SOURCE}
    return {point: {server for _, server, _ in readings} for point, readings in told.items()}


def test_from_node_opcua_which_dates_what_is_asked_for_when_it_is_asked(tmp_path: Path) -> None:
    began = datetime.now(UTC)
    with opcua_server(floats=0) as server:
        servers = both_arrive(tmp_path, server.url)
    assert servers["told"] == {SERVER}
    assert len(servers["asked"]) > 5
    assert all(began < moment < datetime.now(UTC) for moment in servers["asked"])


async def test_from_asyncuas_server_which_dates_what_is_written(tmp_path: Path) -> None:
    began = datetime.now(UTC)
    dated = {"type": "Double", "value": 1.5, "time": SOURCE.isoformat()}
    async with described_asyncua_server({"Dated": dated}) as url:
        serving = datetime.now(UTC)
        servers = await asyncio.to_thread(both_arrive, tmp_path, url)
    (moment,) = servers["told"] | servers["asked"]
    assert began < moment < serving
