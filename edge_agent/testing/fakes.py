"""Stand-ins that keep the contracts: a clock that is turned by hand, a context for one driver under test."""

import asyncio
import heapq
import itertools
from pathlib import Path

from edge_agent.clock import Anchor, Clock, SystemClock
from edge_agent.collect.context import NO_DIRECTORY, DeviceContext
from edge_agent.collect.line import Lines
from edge_agent.model import DeviceId

START_NS = 1_790_000_000_000_000_000


class FakeClock:
    """A clock that stands still until somebody advances it; sleepers wake in order of their time."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self._monotonic_s = 1000.0
        self._now_ns = now_ns
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_s(self) -> float:
        return self._monotonic_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic_s + seconds, next(self._order), future))
        await future

    def anchor_of(self, _time_ns: int) -> Anchor | None:
        return None

    @property
    def synced(self) -> Anchor | None:
        return None

    def step(self, seconds: float) -> None:
        """Move data time only, as a time server does."""
        self._now_ns += round(seconds * 1e9)

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass: wake every sleeper whose time comes, and let woken tasks run in between."""
        end_s = self._monotonic_s + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            wake_s, _, future = heapq.heappop(self._sleepers)
            self._pass_until(wake_s)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self._pass_until(end_s)
        await self.settle()

    async def settle(self) -> None:
        """Let every task that can run do so."""
        for _ in range(20):
            await asyncio.sleep(0)

    def _pass_until(self, monotonic_s: float) -> None:
        passed_s = max(0.0, monotonic_s - self._monotonic_s)
        self._monotonic_s += passed_s
        self._now_ns += round(passed_s * 1e9)


class FakeContext(DeviceContext):
    """A driver's surroundings without an agent: pass ``lines`` to let several devices share them.

    Attributes:
        expiries: end of validity and remedy, by certificate, as the driver told them.
        found: what sessions found, as the agent would keep it.
    """

    def __init__(
        self,
        device: str = "device-01",
        clock: Clock | None = None,
        lines: Lines | None = None,
        directory: Path = NO_DIRECTORY,
    ) -> None:
        self.expiries: dict[str, tuple[int, str]] = {}
        self.found: list[str] = []
        super().__init__(
            DeviceId(device),
            clock or SystemClock(),
            lines or Lines(),
            {},
            directory=directory,
            expiries=self._told,
            findings=self._keep,
        )

    async def _keep(self, _device: DeviceId, found: str) -> None:
        self.found.append(found)

    def _told(self, _device: DeviceId, certificate: str, time_ns: int, remedy: str) -> None:
        self.expiries[certificate] = (time_ns, remedy)
