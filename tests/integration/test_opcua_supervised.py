"""The driver under the agent's supervisor: it comes back by itself, and it stops when it is told to."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from edge_agent.clock import SystemClock
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.packed import Packed
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.current import DeviceCurrent, DevicePhase
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, Lost, Point, PointName, PointTable, Quality, ReadingBatch
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua import DRIVER
from edge_agent_opcua.config import OpcUaDevice
from tests.servers.opcua.reading import points
from tests.servers.opcua_server import OpcUaServer, opcua_server

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[OpcUaServer]:
    with opcua_server() as running:
        yield running


class Supervised:
    """A supervised device with a polled and a reported point, that tries again after 20 ms at the latest."""

    def __init__(self, url: str) -> None:
        table = [*points(["Counter"]), *points(["Sine"], mode="poll")]
        config = OpcUaDevice.model_validate(
            {
                "id": "cnc",
                "driver": "opcua",
                "url": url,
                "interval": "100ms",
                "keep_alive": "500ms",
                "timeout": "500ms",
                "points": table,
            }
        )
        device = DeviceId("cnc")
        names = PointTable(device, tuple(Point(PointName(point.name)) for point in config.points))
        options = DeviceOptions(device, DRIVER, Packed(config), names, (0.1, 0.1), 2.0, 0.5, 0.5, 3, 0.02)
        self.clock, self.metrics = SystemClock(), Metrics()
        self.current = DeviceCurrent(names, self.clock)
        self.attempts = 0
        self.kept: list[ReadingBatch] = []
        self.lost: list[Lost] = []
        self.supervisor = DeviceSupervisor(
            options,
            FakeContext("cnc", self.clock),
            self._keep,
            lambda _, lost: self.lost.append(lost),
            self.current,
            clock=self.clock,
            metrics=self.metrics,
            random=self._random,
        )

    def _random(self) -> float:
        self.attempts += 1
        return 1.0

    async def _keep(self, _table: PointTable, batch: ReadingBatch) -> None:
        self.kept.append(batch)

    @property
    def losses(self) -> int:
        lost = [Quality.BAD_NO_COMMUNICATION] * 2
        return sum(list(column.statuses or ()) == lost for batch in self.kept for column in batch.columns)

    @property
    def is_fresh(self) -> bool:
        """Whether both points gave a reading within the last half second."""
        since_ns = self.clock.now_ns() - 500_000_000
        return all(
            self.current.latest(i).time_ns > since_ns and self.current.latest(i).status == 0 for i in (0, 1)
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.supervisor.run())
            yield
            task.cancel()


async def test_peer_defect_15_after_many_failed_attempts_it_is_back_by_itself(server: OpcUaServer) -> None:
    device = Supervised(server.url)
    async with device.running():
        await eventually(lambda: device.is_fresh)
        await asyncio.to_thread(server.kill)
        await eventually(lambda: device.losses)
        attempts = device.attempts
        await eventually(lambda: device.attempts > attempts + 12)
        assert device.current.phase is DevicePhase.OFFLINE or device.current.phase is DevicePhase.CONNECTING
        await asyncio.to_thread(server.start, filler=2)
        await eventually(lambda: device.is_fresh)
    assert device.losses == 1


async def test_after_a_hang_it_is_back_by_itself(server: OpcUaServer) -> None:
    device = Supervised(server.url)
    async with device.running():
        await eventually(lambda: device.is_fresh)
        server.pause()
        await eventually(lambda: device.losses)
        attempts = device.attempts
        await eventually(lambda: device.attempts > attempts)
        server.resume()
        await eventually(lambda: device.is_fresh)
    assert device.losses == 1


@pytest.mark.parametrize("hangs", [False, True])
async def test_it_stops_within_the_close_time_out(server: OpcUaServer, hangs: bool) -> None:
    device = Supervised(server.url)
    async with device.running():
        await eventually(lambda: device.is_fresh)
        if hangs:
            server.pause()
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 0.8
    server.resume()
