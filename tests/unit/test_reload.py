import asyncio
from pathlib import Path

import pytest

from edge_agent.app import Agent
from edge_agent.config import load
from edge_agent.registry import Registry
from edge_agent.reload import Reloader
from edge_agent.testing.eventually import eventually

YAML = """
gateway: {id: gw}
publishers: []
devices: []
outbox: {directory: state}
ops: {http: "off", control_socket: c.sock}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # a short name for the socket
    (tmp_path / "agent.yaml").write_text(YAML)
    return Path("agent.yaml")


async def test_signals_that_come_together_are_one_reload_and_a_trial_that_waits_is_none(path: Path) -> None:
    agent = Agent(await asyncio.to_thread(load, path, Registry()))
    reloader = Reloader(agent, path)
    reloads = agent.metrics.reloads.labels("unchanged")._value
    async with asyncio.TaskGroup() as group:
        trial = group.create_task(reloader._act({"dry_run": True}))
        await asyncio.sleep(0)
        for _ in range(3):
            reloader.ask()
        tasks = [group.create_task(agent.run()), group.create_task(reloader.run())]
        assert (await trial)["result"] == "unchanged"  # type: ignore[index]
        await eventually(lambda: reloads.get() == 1)
        again = await reloader._act({})
        assert again["ok"] is True  # type: ignore[index]
        assert reloads.get() == 2
        reloader.ask()
        await eventually(lambda: reloads.get() == 3)
        for task in tasks:
            task.cancel()
