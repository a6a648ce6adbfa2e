"""A day of trouble with an OPC UA server in minutes, in a random order that is printed."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count

import psutil
import pytest

from edge_agent.model import LossReason
from edge_agent.testing.eventually import eventually
from tests.servers.link import proxy
from tests.servers.opcua.disasters import DISASTERS, Plant
from tests.servers.opcua.reading import points
from tests.servers.opcua_server import ASYNCUA, NODE_OPCUA, opcua_server
from tests.servers.supervised_opcua import Supervised

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

MINUTES = 2.0  # against each server
# As the driver's README says: 2 * connect_timeout + interval <= retry_max.
RETRY_MAX_S, CONNECT_S = 1.5, 0.7


@pytest.mark.parametrize("command", [NODE_OPCUA, ASYNCUA], ids=["node-opcua", "asyncua"])
async def test_a_day_of_chaos_leaves_data_flowing_and_no_hole_untold(command: Sequence[str]) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(10**9)
    print(f"CHAOS_SEED={seed}")
    dice, befell, shuffles = random.Random(seed), Counter[str](), count(1)
    process = psutil.Process()
    with opcua_server(command=command, floats=300) as server, proxy(server.port) as way:
        plant = Plant(server, way, lambda: {"filler": next(shuffles) % 4})
        more = [*points(["Feed", "Late"]), *points([f"Float.{i:03}" for i in range(200)])]
        device = Supervised(
            plant.url, retry_max_s=RETRY_MAX_S, connect_s=CONNECT_S, more=more, bad_node_retry="1s"
        )
        slowest_s = 0.0
        async with device.running():
            await eventually(lambda: device.is_fresh)
            rss_mib, handles = process.memory_info().rss / 2**20, process.num_fds()
            ended_s = time.monotonic() + 60 * MINUTES
            while time.monotonic() < ended_s:
                name = dice.choice(list(DISASTERS))
                begin, heal = DISASTERS[name]
                befell[name] += 1
                await begin(plant)
                await asyncio.sleep(dice.choice([0.0, 0.1, 1.0, 3.0]))
                await heal(plant)
                healed_s = time.monotonic()
                await eventually(lambda: device.is_fresh, within_s=30, what=f"data after: {name}")
                slowest_s = max(slowest_s, time.monotonic() - healed_s)
                if dice.random() < 0.3:
                    await asyncio.to_thread(server.order, "add", name="Late", value=1.0)
                    await eventually(lambda: device.of("Late")[-1].status == 0, what="the late node")
                    await asyncio.to_thread(server.order, "remove", name="Late")
                await asyncio.sleep(dice.random())
            grown_mib = process.memory_info().rss / 2**20 - rss_mib
            handles = process.num_fds() - handles
        sessions = await asyncio.to_thread(server.order, "sessions")
    print(
        f"{dict(befell)}, {device.losses} losses, {len(device.lost)} told, back after {slowest_s:.1f} s at the "
        f"latest, {way.accepted} connections, {grown_mib:.0f} MiB more, {sessions} sessions"
    )
    assert slowest_s < 2 * RETRY_MAX_S
    assert device.holes_not_told() == []
    outages = [lost for lost in device.lost if lost.reason is LossReason.OUTAGE]
    assert device.losses <= sum(befell.values())
    assert len(outages) >= device.losses
    assert way.accepted <= device.attempts + len(outages) + 1, "connections without a pause before them"
    assert handles <= 2
    assert grown_mib < 60  # the readings that the test keeps, and no more
