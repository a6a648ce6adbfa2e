import asyncio
from pathlib import Path

import pytest

from edge_agent.app import Agent
from edge_agent.config import load
from edge_agent.registry import Registry
from edge_agent.testing.fakes import FakeClock

YAML = """
gateway: {id: gw}
publishers: []
devices: []
outbox: {directory: state, commit_interval: %s}
"""


class Outbox:
    tick_s = 0.0


@pytest.mark.parametrize(("interval", "alive_s"), [("1s", 21), ("60s", 80)])
async def test_an_outbox_is_alive_from_one_commit_to_the_next(tmp_path: Path, interval: str, alive_s: int) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(YAML % interval)
    clock, outbox = FakeClock(), Outbox()
    agent = Agent(await asyncio.to_thread(load, path, Registry()), clock=clock)
    agent._outbox = outbox  # type: ignore[assignment]
    agent.ready.set()
    outbox.tick_s = clock.monotonic_s()
    await clock.advance(alive_s)
    assert agent.not_live() == []
    await clock.advance(1)
    assert agent.not_live() == ["outbox made no progress for 21 s"]
