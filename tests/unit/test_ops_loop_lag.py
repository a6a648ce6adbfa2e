import asyncio

from edge_agent.metrics import Metrics
from edge_agent.ops.loop_lag import LoopLag
from edge_agent.testing.fakes import FakeClock


class LateClock(FakeClock):
    """A loop that is busy: timers come 0.3 s late."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + 0.3)


async def test_lag_is_what_a_timer_comes_late() -> None:
    metrics, clock = Metrics(), LateClock()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(LoopLag(metrics, clock).run())
        await clock.advance(13.5)
        task.cancel()
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in metrics.loop_lag.collect()
        for sample in family.samples
    }
    assert samples["edge_agent_loop_lag_seconds_count", None] == 10
    assert samples["edge_agent_loop_lag_seconds_bucket", "0.25"] == 0
    assert samples["edge_agent_loop_lag_seconds_bucket", "0.5"] == 10
