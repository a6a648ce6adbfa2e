"""Watches the machine's clock: steps are counted and told, and the agent's clock follows."""

import logging
from typing import NoReturn

from edge_agent.clock import SystemClock
from edge_agent.edge_log import EdgeLog
from edge_agent.metrics import Metrics

_log = logging.getLogger(__name__)

INTERVAL_S = 1.0
_EVEN_AFTER_S = 60.0


class ClockWatch:
    """Looks at the clock every second."""

    def __init__(self, metrics: Metrics, clock: SystemClock) -> None:
        self._clock = clock
        self._steps = metrics.clock_steps
        self._synced = metrics.clock_synced
        self._step_log = EdgeLog(_log, clock.monotonic_s)
        self._sync_log = EdgeLog(_log, clock.monotonic_s)
        self._stepped_s = clock.monotonic_s()

    async def run(self) -> NoReturn:
        """Task ``clock``, until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(INTERVAL_S)

    def look(self) -> None:
        """Look once."""
        step_ns = self._clock.check()
        now_s = self._clock.monotonic_s()
        if step_ns:
            self._steps.inc()
            self._stepped_s = now_s
            self._step_log.failed("the machine's clock was stepped", step_s=round(step_ns / 1e9, 3))
        elif now_s - self._stepped_s > _EVEN_AFTER_S:
            self._step_log.recovered("the machine's clock runs evenly again")
        is_synced = self._clock.synced is not None
        self._synced.set(is_synced)
        if is_synced:
            self._sync_log.recovered("the machine's clock is set; times of readings taken before are corrected")
        else:
            self._sync_log.failed("the machine's clock is not set from outside; times may be wrong: set up NTP")
