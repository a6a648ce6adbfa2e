"""Actions over the control socket, asked for as the command line does."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from edge_agent.cli.control import NoAgentError, act, get_status
from edge_agent.errors import EdgeAgentError
from edge_agent.metrics import Metrics
from edge_agent.ops.actions import MAX_BODY_BYTES, Actions, text_of
from edge_agent.ops.http import OpsServer
from edge_agent.ops.options import OpsOptions
from edge_agent.testing.eventually import eventually
from tests.servers.view import view_of


@pytest.fixture
def path() -> Iterator[Path]:
    """Return a path short enough for a Unix socket."""
    with TemporaryDirectory(prefix="ea", dir="/tmp") as folder:
        yield Path(folder) / "control.sock"


async def greet(arguments: dict[str, Any]) -> object:
    return {"greeting": f"good morning, {text_of(arguments, 'name')}"}


@asynccontextmanager
async def serving(path: Path, actions: Actions) -> AsyncIterator[str]:
    """Serve ``actions``; gives the address of the TCP listener."""
    server = OpsServer(
        OpsOptions("127.0.0.1", 0, path),
        Metrics().registry,
        view=view_of(),
        live=list,
        ready=list,
        actions=actions,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await eventually(server.started.is_set)
        assert server.address is not None
        yield f"http://127.0.0.1:{server.address[1]}"
        task.cancel()


async def ask(path: Path, name: str, arguments: dict[str, object] | None = None) -> dict[str, Any]:
    return await asyncio.to_thread(act, path, name, arguments)


def greeting() -> Actions:
    actions = Actions()
    actions.add("greet", greet)
    return actions


async def test_an_action_gets_its_arguments_and_gives_its_answer(path: Path) -> None:
    async with serving(path, greeting()):
        assert await ask(path, "greet", {"name": "机床"}) == {"greeting": "good morning, 机床"}
        assert await asyncio.to_thread(get_status, path) == {"devices": []}


async def test_what_cannot_be_done_is_told_to_whoever_asked(path: Path) -> None:
    async with serving(path, greeting()):
        with pytest.raises(EdgeAgentError, match="the argument name must be a text"):
            await ask(path, "greet")
        with pytest.raises(EdgeAgentError, match="the agent has no action 'dance'; it has greet"):
            await ask(path, "dance")
        with pytest.raises(EdgeAgentError, match=f"more than {MAX_BODY_BYTES} bytes"):
            await ask(path, "greet", {"name": "x" * MAX_BODY_BYTES})


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff", b'{"a":' + b"[" * 30_000])
async def test_arguments_that_are_not_a_json_object_are_refused(path: Path, body: bytes) -> None:
    async with (
        serving(path, greeting()),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
        client.post("http://agent/actions/greet", data=body) as response,
    ):
        assert response.status == 422
        assert "not a JSON object" in (await response.json())["error"]


async def test_arguments_that_are_not_packed_as_they_say_are_refused(path: Path) -> None:
    async with (
        serving(path, greeting()),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
        client.post("http://agent/actions/greet", data=b"{}", headers={"Content-Encoding": "gzip"}) as response,
    ):
        assert response.status == 422


async def test_the_tcp_listener_knows_no_actions(path: Path) -> None:
    done: list[object] = []
    actions = Actions()

    async def note(arguments: dict[str, Any]) -> object:
        done.append(arguments)
        return {}

    actions.add("note", note)
    async with serving(path, actions) as url, aiohttp.ClientSession() as client:
        for method in ("POST", "PUT", "GET"):
            async with client.request(method, url + "/actions/note", json={}) as response:
                assert response.status == 404
        assert not done
        assert await ask(path, "note") == {}
        assert done == [{}]


async def test_an_action_stops_when_nobody_waits_for_it_any_more(path: Path) -> None:
    began, ended = asyncio.Event(), asyncio.Event()
    actions = Actions()

    async def endless(_arguments: dict[str, Any]) -> object:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    actions.add("endless", endless)
    async with serving(path, actions):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"POST /actions/endless HTTP/1.1\r\nHost: agent\r\n\r\n")
            async with asyncio.timeout(5):
                await began.wait()
        async with asyncio.timeout(5):
            await ended.wait()


async def test_nobody_there_is_told(path: Path) -> None:
    with pytest.raises(NoAgentError, match=r"no agent answers at .*is it running"):
        await ask(path, "greet")


def test_names_are_taken_once_and_fit_into_an_address() -> None:
    actions = greeting()
    for name in ("greet", "a/b", "", "Greet"):
        with pytest.raises(ValueError, match="of that name"):
            actions.add(name, greet)
