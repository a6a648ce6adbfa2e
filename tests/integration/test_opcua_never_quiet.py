"""Whatever befalls the server, data flow again by themselves, and every hole is told of with points and times."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.model import LossReason
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua.trust import TrustList
from tests.servers.link import proxy
from tests.servers.opcua.certificates import make_certificate
from tests.servers.opcua.disasters import DISASTERS, Plant
from tests.servers.opcua.reading import points
from tests.servers.opcua_server import ASYNCUA, NODE_OPCUA, URI, opcua_server
from tests.servers.supervised_opcua import Supervised

pytestmark = pytest.mark.slow
SERVERS = {"node-opcua": NODE_OPCUA, "asyncua": ASYNCUA}
# As the driver's README says: 2 * connect_timeout + interval <= retry_max.
RETRY_MAX_S, CONNECT_S = 1.5, 0.7
BOUND_S = 2 * RETRY_MAX_S


@pytest.fixture(scope="module", params=SERVERS)
def plant(request: pytest.FixtureRequest) -> Iterator[Plant]:
    shuffles = count(1)
    with opcua_server(command=SERVERS[request.param]) as server, proxy(server.port) as way:
        yield Plant(server, way, lambda: {"filler": next(shuffles) % 4})


@pytest.mark.parametrize("name", DISASTERS)
async def test_data_flow_again_by_themselves_and_the_loss_is_told(plant: Plant, name: str) -> None:
    begin, heal = DISASTERS[name]
    device = Supervised(plant.url, retry_max_s=RETRY_MAX_S, connect_s=CONNECT_S, more=points(["Feed"]))
    async with device.running():
        await eventually(lambda: device.is_fresh)
        heard_ns = device.clock.now_ns()
        await begin(plant)
        await eventually(lambda: device.losses)
        await heal(plant)
        healed_s = time.monotonic()
        await eventually(lambda: device.is_fresh, within_s=10)
        took_s = time.monotonic() - healed_s
        await eventually(lambda: device.of("Feed")[-1].status == 0)
    print(f"back after {took_s:.2f} s: {name}")
    assert took_s < BOUND_S
    assert device.losses == 1
    (lost,) = device.lost
    assert (lost.reason, lost.points) == (LossReason.OUTAGE, (0, 2))
    assert abs(lost.t_first_ns - heard_ns) < 1_000_000_000
    assert device.holes_not_told() == []
    unchanged = sorted(device.of("Feed"), key=lambda reading: reading.time_ns)
    is_good = [reading.status == 0 for reading in unchanged]
    assert (is_good[:2], is_good[-1]) == ([True, False], True), "Bad is the last word"


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
async def test_a_server_with_a_new_certificate_is_back_as_soon_as_that_is_trusted(
    tmp_path: Path, command: Sequence[str]
) -> None:
    own = make_certificate("urn:edge-agent:gw-01", key=1)
    shown = [make_certificate(URI, key=key).write(tmp_path, f"server{key}") for key in (2, 3)]
    certificate, key = own.write(tmp_path, "own")
    context = FakeContext("cnc", SystemClock(), directory=tmp_path / "driver")
    TrustList(context.directory).add(str(shown[0][0]))
    pairs: list[dict[str, Any]] = [{"certificate": str(path), "key": str(private)} for path, private in shown]
    with opcua_server([own.der], command=command, security=True, **pairs[0]) as server:
        device = Supervised(
            server.url,
            retry_max_s=3 * RETRY_MAX_S,  # both sides sign and encrypt in Python
            connect_s=3 * CONNECT_S,
            context=context,
            security_policy="Basic256Sha256",
            certificate=str(certificate),
            private_key=str(key),
        )
        async with device.running():
            await eventually(lambda: device.is_fresh)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start, **pairs[1])
            await eventually(lambda: "trust" in device.current.reason, what="the reason")
            attempts = device.attempts
            await eventually(lambda: device.attempts > attempts)
            TrustList(context.directory).add(str(shown[1][0]))
            trusted_s = time.monotonic()
            await eventually(lambda: device.is_fresh)
            took_s = time.monotonic() - trusted_s
    print(f"back after {took_s:.2f} s: certificate changed")
    assert took_s < 3 * BOUND_S
    assert (device.losses, len(device.lost)) == (1, 1)
    assert device.holes_not_told() == []


@pytest.mark.parametrize("plant", ["node-opcua"], indirect=True)
async def test_a_server_that_closes_each_session_is_not_stormed(plant: Plant) -> None:
    device = Supervised(plant.url, retry_max_s=60.0)
    before = plant.way.accepted
    async with device.running():
        await eventually(lambda: device.is_fresh)
        ended_s = time.monotonic() + 8
        while time.monotonic() < ended_s:
            await asyncio.to_thread(plant.server.order, "closeSessions")
            await asyncio.sleep(0.05)
    sessions = plant.way.accepted - before
    assert 3 <= sessions <= 4, "pauses of 1, 2, 4 … s between them, and no shorter for being connected in between"
