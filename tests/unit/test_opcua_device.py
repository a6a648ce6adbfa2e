import asyncio
import importlib
import threading
from types import SimpleNamespace

import pytest

from edge_agent.clock import SystemClock
from edge_agent.model import DeviceId
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.device import create


async def test_a_second_device_that_connects_during_the_import_does_not_hold_up_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imported = threading.Event()
    importing = 0

    async def open_session(*_: object) -> str:
        return "session"

    def import_module(name: str) -> SimpleNamespace:
        nonlocal importing
        assert name == "edge_agent_opcua.session"
        importing += 1
        assert threading.current_thread() is not threading.main_thread()
        assert imported.wait(10)  # as the lock of a module that another thread imports
        return SimpleNamespace(open_session=open_session)

    monkeypatch.setattr(importlib, "import_module", import_module)
    config = OpcUaDevice.model_validate(
        {"id": "cnc", "driver": "opcua", "url": "opc.tcp://cnc", "points": [{"name": "a", "node": "i=1"}]}
    )
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        connects = [
            group.create_task(create(FakeContext(DeviceId("cnc"), SystemClock()), config).connect())
            for _ in range(2)
        ]
        await eventually(lambda: importing == len(connects))
        imported.set()
    assert [str(connect.result()) for connect in connects] == ["session", "session"]
