"""What a driver gets of its surroundings."""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import TypeVar

from edge_agent.clock import Clock, SystemClock
from edge_agent.collect.line import Lines
from edge_agent.collect.station import Station
from edge_agent.driver import Line
from edge_agent.model import DeviceId

T = TypeVar("T")

NO_DIRECTORY = Path("/dev/null/edge-agent")
"""Where nothing can be: a driver that plans has no files."""


async def let_go(_device: DeviceId, _found: str) -> None:
    """Keep nothing."""


class DeviceContext:
    """The ``Context`` of one device in a running agent.

    Args:
        directory: the driver's own folder.
        expiries: takes device, certificate, end of validity and remedy.
        findings: takes device and what a session of it found.

    Attributes:
        line_keys: of the lines that the driver asked for.
        station: what answers for this device, and perhaps for others.
    """

    def __init__(
        self,
        device: DeviceId,
        clock: Clock,
        lines: Lines,
        state: MutableMapping[str, str],
        *,
        directory: Path = NO_DIRECTORY,
        expiries: Callable[[DeviceId, str, int, str], None] = lambda *_: None,
        findings: Callable[[DeviceId, str], Awaitable[None]] = let_go,
    ) -> None:
        self.device = device
        self.clock = clock
        self.state = state
        self.directory = directory
        self.line_keys: list[str] = []
        self.station = Station()
        self._lines = lines
        self._expiries = expiries
        self._findings = findings

    async def keep_found(self, found: str) -> None:
        """Keep what a session found of the device; for the agent."""
        await self._findings(self.device, found)

    def expires(self, certificate: str, time_ns: int, remedy: str) -> None:
        self._expiries(self.device, certificate, time_ns, remedy)

    def line(
        self,
        key: str,
        open_transport: Callable[[], Awaitable[T]],
        close: Callable[[T], None],
        *,
        station: str = "",
    ) -> Line[T]:
        if station:
            self.station = self._lines.station(key, station)
            self.station.add(self.device)
        if key not in self.line_keys:  # a driver that crashed asks again
            self.line_keys.append(key)
        return self._lines.line(key, open_transport, close)


def driver_directory(state: Path, protocol: str) -> Path:
    """Return the folder of a driver in the state directory ``state``."""
    return state / "drivers" / protocol


def planning_context(device: DeviceId) -> DeviceContext:
    """Return a context for planning only: nothing is learned, nothing is shared with a running agent."""
    return DeviceContext(device, SystemClock(), Lines(), {})
