"""What a consumer knows of the alarms is what the server says, whatever happens to either end."""

import asyncio
import json
import random
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.packed import Packed
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.current import DeviceCurrent
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, Point, PointName, PointTable, ReadingBatch
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua import DRIVER
from edge_agent_opcua.config import OpcUaDevice
from tests.servers.opcua_server import OpcUaServer, opcua_server

NAMES = ("Spindle", "Coolant")
CNC = DeviceId("cnc")


class Consumer:
    """An agent that is started and stopped, and who reads what it tells.

    What the agent keeps of what it told outlives it.
    """

    def __init__(self, url: str) -> None:
        keys = {"interval": "50ms", "keep_alive": "200ms", "timeout": "500ms"}
        points = [{"name": "alarms", "node": "i=2253", "events": "alarms"}]
        config = {"id": CNC, "driver": "opcua", "url": url, "points": points} | keys
        table = PointTable(CNC, (Point(PointName("alarms")),))
        packed = Packed[Any](OpcUaDevice.model_validate(config))
        self._options = DeviceOptions(CNC, DRIVER, packed, table, (0.05,), 5.0, 0.5, 0.5, 3, 0.02)
        self._context = FakeContext(CNC)
        self._agent: asyncio.Task[None] | None = None
        self.known: dict[str, dict[str, Any]] = {}
        self.repeated: list[dict[str, Any]] = []

    async def _keep(self, _table: PointTable, batch: ReadingBatch) -> None:
        for column in batch.columns:
            for text in column.values or ():
                event = json.loads(str(text)) if text else {}
                event.pop("event_id", None)
                if "condition" in event:
                    name = event["condition"].removesuffix("Alarm")
                    if self.known.get(name) == event:
                        self.repeated.append(event)
                    self.known[name] = event

    def start(self, group: asyncio.TaskGroup) -> None:
        clock = SystemClock()
        current = DeviceCurrent(self._options.table, clock)
        supervisor = DeviceSupervisor(
            self._options,
            self._context,
            self._keep,
            lambda _table, _lost: None,
            current,
            clock=clock,
            metrics=Metrics(),
            random=lambda: 1.0,
        )
        self._agent = group.create_task(supervisor.run())

    async def stop(self) -> None:
        assert self._agent is not None
        self._agent.cancel()
        await asyncio.wait([self._agent])

    def agrees(self, states: dict[str, dict[str, bool]]) -> bool:
        """Return whether the alarms that matter, active or not acknowledged, are known as they are."""
        truth = {name: state for name, state in states.items() if state["retain"]}
        known = {name: event for name, event in self.known.items() if event["retain"]}
        return truth == {
            name: {key: event[key] for key in ("active", "acked", "retain")} for name, event in known.items()
        }


def change(server: OpcUaServer, chance: random.Random, number: int) -> None:
    """Let something happen to an alarm, as its state allows."""
    name = chance.choice(NAMES)
    state = server.order("alarms")[name]
    if not state["active"]:
        server.order("raise", alarm=name, message=f"{number}", severity=chance.randint(1, 1000))
    elif not state["acked"] and chance.random() < 0.7:
        server.order("acknowledge", alarm=name)
    else:
        server.order("end", alarm=name, retain=not state["acked"])


async def disturb(
    server: OpcUaServer, consumer: Consumer, chance: random.Random, number: int, group: asyncio.TaskGroup
) -> None:
    """Cut one end off, let something happen meanwhile, and bring it back."""
    changes = chance.randrange(2)
    match chance.choice(["nothing", "sessions closed", "server killed", "server hangs", "agent restarted"]):
        case "sessions closed":
            server.order("closeSessions")
        case "server killed":
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start, filler=chance.randrange(5))
        case "server hangs":
            server.pause()
            await asyncio.sleep(chance.choice([0.1, 1.0]))  # shorter and longer than it may be silent
            server.resume()
        case "agent restarted":
            await consumer.stop()
            for _ in range(changes):
                change(server, chance, number)
            consumer.start(group)
    for _ in range(changes):
        change(server, chance, number)


async def agree(server: OpcUaServer, consumer: Consumer, when: str) -> None:
    states = server.order("alarms")
    await eventually(lambda: consumer.agrees(states), within_s=20, what=f"{when}: they agree")


async def live_through(rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    with opcua_server(floats=0) as server:
        consumer = Consumer(server.url)
        async with asyncio.TaskGroup() as group:
            consumer.start(group)
            for number in range(rounds):
                change(server, chance, number)
                await agree(server, consumer, f"round {number}, before")
                await disturb(server, consumer, chance, number, group)
                await agree(server, consumer, f"round {number}, after")
            await consumer.stop()
        assert consumer.known
        assert not consumer.repeated


@pytest.mark.slow
async def test_what_a_consumer_knows_of_alarms_is_what_the_server_says() -> None:
    await live_through(rounds=8, seed=1)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2))
async def test_what_a_consumer_knows_of_alarms_is_what_the_server_says_for_long(seed: int) -> None:
    await live_through(rounds=60, seed=seed)
