"""What a driver gets of its surroundings."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TypeVar

from edge_agent.clock import Clock, SystemClock
from edge_agent.collect.line import Lines
from edge_agent.driver import Line
from edge_agent.model import DeviceId

T = TypeVar("T")


class DeviceContext:
    """The ``Context`` of one device in a running agent."""

    def __init__(self, device: DeviceId, clock: Clock, lines: Lines, state: MutableMapping[str, str]) -> None:
        self.device = device
        self.clock = clock
        self.state = state
        self._lines = lines

    def line(self, key: str, open_transport: Callable[[], Awaitable[T]], close: Callable[[T], None]) -> Line[T]:
        return self._lines.line(key, open_transport, close)


def planning_context(device: DeviceId) -> DeviceContext:
    """Return a context for planning only: nothing is learned, nothing is shared with a running agent."""
    return DeviceContext(device, SystemClock(), Lines(), {})
