"""The driver under the agent's supervisor: it comes back by itself, and it stops when it is told to."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from edge_agent.current import DevicePhase
from edge_agent.testing.eventually import eventually
from tests.servers.opcua_server import OpcUaServer, opcua_server
from tests.servers.supervised_opcua import Supervised

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[OpcUaServer]:
    with opcua_server() as running:
        yield running


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
    assert time.monotonic() - began_s < 2
    server.resume()
