"""How late the event loop wakes a timer: what everything else in the process feels."""

from typing import NoReturn

from edge_agent.clock import Clock
from edge_agent.metrics import Metrics

INTERVAL_S = 1.0


class LoopLag:
    """Measures into ``metrics.loop_lag``."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._lag = metrics.loop_lag
        self._clock = clock

    async def run(self) -> NoReturn:
        """Task ``loop-lag``: observe, each second, by how much a sleep was too long; until cancelled."""
        while True:
            began_s = self._clock.monotonic_s()
            await self._clock.sleep(INTERVAL_S)
            self._lag.observe(max(0.0, self._clock.monotonic_s() - began_s - INTERVAL_S))
