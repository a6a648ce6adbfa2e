"""Simulated Modbus devices in the test's own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.simulating import Simulation, SimulationEvent, SimulationEventKind
from edge_agent.testing.eventually import eventually
from edge_agent_modbus.simulator.config import SimulatedDevice
from edge_agent_modbus.simulator.serve import serve


@dataclass
class Simulated:
    """Running devices and what happened to them."""

    events: list[SimulationEvent] = field(default_factory=list)

    def details(self, kind: SimulationEventKind) -> list[str]:
        """Return the details of the events of a kind, oldest first."""
        return [event.detail for event in self.events if event.kind is kind]

    @property
    def places(self) -> list[str]:
        """Where each device is: an address, or the name of a terminal."""
        return self.details(SimulationEventKind.LISTENING)

    @property
    def ports(self) -> list[int]:
        """The port of each device."""
        return [int(place.rpartition(":")[2]) for place in self.places]


def simulated_device(points: list[dict[str, Any]], **keys: Any) -> SimulatedDevice:
    named = [{"name": f"p{index}", **point} for index, point in enumerate(points)]
    where = {} if "serial" in keys else {"host": "127.0.0.1"}
    config = {"id": "d", "driver": "modbus", **where, "points": named, **keys}
    return SimulatedDevice.model_validate(config)


@asynccontextmanager
async def simulated(
    *devices: SimulatedDevice, clock: Clock | None = None, seed: int = 0
) -> AsyncIterator[Simulated]:
    """Serve on free ports until the block ends."""
    state = Simulated()
    simulation = Simulation(clock or SystemClock(), state.events.append, port_base=0, seed=seed)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(devices, simulation))
        await eventually(lambda: len(state.places) == len(devices))
        yield state
        task.cancel()
