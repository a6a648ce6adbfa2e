import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.ops.systemd import Notifier
from edge_agent.testing.fakes import FakeClock

WATCHDOG_USEC = "30000000"


class Manager:
    """The other end: a real datagram socket, as PID 1 has it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.socket.settimeout(0)

    def messages(self) -> list[str]:
        received = []
        while True:
            try:
                received.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return received


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(
        str(tmp_path / "notify") if request.param == "path" else f"@edge-agent-test-{os.getpid()}-{id(tmp_path)}"
    )
    yield manager
    manager.socket.close()


class Agent:
    def __init__(self, address: str = "", **environ: str) -> None:
        self.clock = FakeClock()
        self.reasons: list[str] = []
        self.text = "starting"
        self.service = Notifier.from_environment(
            live=lambda: self.reasons,
            clock=self.clock,
            status=lambda: self.text,
            environ={"NOTIFY_SOCKET": address, **environ},
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.service.run())
            await self.clock.settle()
            yield
            task.cancel()


def test_each_step_is_told(manager: Manager) -> None:
    agent = Agent(manager.address)
    agent.service.ready()
    agent.service.reloading()
    agent.service.ready()
    agent.service.extend_timeout(90)
    agent.service.stopping()
    assert manager.messages() == [
        "READY=1",
        "RELOADING=1\nMONOTONIC_USEC=1000000000",
        "READY=1",
        "EXTEND_TIMEOUT_USEC=90000000",
        "STOPPING=1",
    ]


async def test_more_time_is_asked_for_as_long_as_something_takes(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.ops.systemd._PATIENCE_S", 0.02)
    agent = Agent(manager.address)
    with agent.service.patience():
        await asyncio.sleep(0.1)
    asked = manager.messages()
    assert len(asked) >= 3
    assert set(asked) == {"EXTEND_TIMEOUT_USEC=20000"}
    await asyncio.sleep(0.05)
    assert manager.messages() == []


async def test_status_is_told_when_it_changes_and_only_then(manager: Manager) -> None:
    agent = Agent(manager.address)
    async with agent.running():
        await agent.clock.advance(30)
        agent.text = "3 devices\nonline"
        await agent.clock.advance(30)
    assert manager.messages() == ["READY=1", "STATUS=starting", "STATUS=3 devices online", "STOPPING=1"]


async def test_the_watchdog_is_fed_at_half_its_time(manager: Manager) -> None:
    agent = Agent(manager.address, WATCHDOG_USEC="6000000", WATCHDOG_PID=str(os.getpid()))
    async with agent.running():
        await agent.clock.advance(15)
    assert manager.messages().count("WATCHDOG=1") == 6  # at 0, 3, … 15 s


async def test_the_watchdog_is_withheld_while_a_task_is_stuck_and_fed_when_it_moves_again(
    manager: Manager,
) -> None:
    agent = Agent(manager.address, WATCHDOG_USEC=WATCHDOG_USEC)
    async with agent.running():
        agent.reasons = ["outbox: no commit for 40 s"]
        manager.messages()
        await agent.clock.advance(60)
        assert manager.messages() == []
        agent.reasons = []
        await agent.clock.advance(5)
        assert manager.messages() == ["WATCHDOG=1"]


async def test_a_watchdog_of_another_process_is_not_ours(manager: Manager) -> None:
    agent = Agent(manager.address, WATCHDOG_USEC=WATCHDOG_USEC, WATCHDOG_PID="1")
    async with agent.running():
        await agent.clock.advance(30)
    assert "WATCHDOG=1" not in manager.messages()


async def test_what_did_not_get_through_is_sent_again_in_order(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    agent = Agent(address, WATCHDOG_USEC=WATCHDOG_USEC)
    async with agent.running():
        await agent.clock.advance(60)
        manager = Manager(address)
        await agent.clock.advance(5)
        assert manager.messages() == ["READY=1", "STATUS=starting", "WATCHDOG=1"]
        manager.socket.close()


async def test_a_full_socket_blocks_nobody(manager: Manager) -> None:
    agent = Agent(manager.address)
    for _ in range(2000):
        agent.service.ready()
    assert 1 <= len(manager.messages()) < 2000


async def test_without_a_service_manager_nothing_happens() -> None:
    agent = Agent()
    async with agent.running():
        await agent.clock.advance(60)


@pytest.mark.parametrize("environ", [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": ""}, {}])
async def test_an_odd_watchdog_time_means_no_watchdog(manager: Manager, environ: dict[str, str]) -> None:
    agent = Agent(manager.address, **environ)
    async with agent.running():
        await agent.clock.advance(30)
    assert manager.messages() == ["READY=1", "STATUS=starting", "STOPPING=1"]


def test_an_address_of_an_unknown_kind_is_told_and_not_used(caplog: pytest.LogCaptureFixture) -> None:
    Agent("vsock:2:1234").service.ready()
    assert "NOTIFY_SOCKET" in caplog.text
