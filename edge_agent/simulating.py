"""What simulated devices need of their surroundings, and what they tell. Part of the contract with a driver."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.clock import Clock
from edge_agent.model import DeviceId


class SimulationEventKind(StrEnum):
    """What a simulator tells of; the detail is for people."""

    LISTENING = "listening"  # the detail is the address
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    REQUEST = "request"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class SimulationEvent:
    """Something happened at a simulated device."""

    kind: SimulationEventKind
    device: DeviceId
    detail: str


@dataclass(frozen=True, slots=True)
class Simulation:
    """What simulated devices need of their surroundings.

    Attributes:
        host: where they listen; empty: on loopback.
        port_base: the first address gets this port, each further one the next; 0: free ones; None: as configured.
        seed: the same seed gives the same signals and faults.
        tell: takes every event; must not block.
    """

    clock: Clock
    tell: Callable[[SimulationEvent], None]
    host: str = ""
    port_base: int | None = None
    seed: int = 0
