import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from edge_agent.errors import EdgeAgentError
from edge_agent.metrics import Metrics
from edge_agent.ops.actions import Actions
from edge_agent.ops.http import OpsServer
from edge_agent.ops.options import OpsOptions
from edge_agent.testing.eventually import eventually
from tests.servers.view import view_of


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """Return a folder with a name short enough for a Unix socket."""
    with TemporaryDirectory(prefix="ea", dir="/tmp") as folder:
        yield Path(folder)


class Served:
    def __init__(self, run_dir: Path, *, host: str = "127.0.0.1", port: int | None = 0) -> None:
        self.socket_path = run_dir / "run" / "control.sock"
        self.metrics = Metrics()
        self.status: dict[str, object] = {"gateway": "gw-01", "path": run_dir, "value": float("nan")}
        self.actions = Actions()
        self.not_live: list[str] = []
        self.not_ready: list[str] = []
        self.server = OpsServer(
            OpsOptions(host, port, self.socket_path),
            self.metrics.registry,
            view=view_of(lambda: self.status),
            live=lambda: self.not_live,
            ready=lambda: self.not_ready,
            actions=self.actions,
        )

    @property
    def url(self) -> str:
        assert self.server.address is not None
        host, port = self.server.address
        return f"http://{host}:{port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.server.run())
            await eventually(lambda: self.server.started.is_set() or task.done())
            if not task.done():
                async with aiohttp.ClientSession() as client:
                    yield client
                task.cancel()

    async def fails_with(self) -> str:
        with pytest.raises(EdgeAgentError) as caught:
            async with asyncio.timeout(5):
                await self.server.run()
        return str(caught.value)


async def test_metrics_are_in_the_text_format_of_prometheus(run_dir: Path) -> None:
    served = Served(run_dir)
    served.metrics.readings.labels("press-01").inc(3)
    async with served.running() as client, client.get(served.url + "/metrics") as response:
        page, headers = await response.text(), response.headers
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert headers["Content-Encoding"] in {"deflate", "gzip"}
    (readings,) = (family for family in parse_text(page) if family.name == "edge_agent_readings")
    assert [(sample.labels, sample.value) for sample in readings.samples] == [({"device": "press-01"}, 3.0)]
    assert readings.documentation


async def test_health_pages_say_why_not(run_dir: Path) -> None:
    served = Served(run_dir)
    async with served.running() as client:
        async with client.get(served.url + "/livez") as response:
            assert (response.status, await response.json()) == (200, {"ok": True, "reasons": []})
        served.not_ready = ["the outbox is not open"]
        async with client.get(served.url + "/readyz") as response:
            assert (response.status, await response.json()) == (
                503,
                {"ok": False, "reasons": ["the outbox is not open"]},
            )
        async with client.get(served.url + "/livez") as response:
            assert response.status == 200
        served.not_live = ["outbox: no turn for 40 s"]
        async with client.get(served.url + "/livez") as response:
            assert response.status == 503


async def test_status_is_json_whatever_is_in_it(run_dir: Path) -> None:
    served = Served(run_dir)
    async with served.running() as client, client.get(served.url + "/status") as response:
        body = json.loads(await response.read(), parse_constant=pytest.fail)
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert body == {"gateway": "gw-01", "path": str(run_dir), "value": None, "devices": []}


async def test_nothing_can_be_changed_and_unknown_pages_are_unknown(run_dir: Path) -> None:
    served = Served(run_dir)
    async with served.running() as client:
        async with client.post(served.url + "/status") as response:
            assert response.status == 405
        async with client.get(served.url + "/etc/passwd") as response:
            assert response.status == 404


async def test_the_same_pages_are_on_the_control_socket_for_owner_and_group_only(run_dir: Path) -> None:
    served = Served(run_dir, port=None)
    async with served.running():
        assert served.server.address is None
        assert stat.S_IMODE(served.socket_path.stat().st_mode) == 0o660
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(served.socket_path))) as client,
            client.get("http://agent/status") as response,
        ):
            assert (await response.json())["gateway"] == "gw-01"
    assert not served.socket_path.exists()


async def test_a_second_start_works_at_once_on_the_same_port(run_dir: Path) -> None:
    first = Served(run_dir)
    async with first.running() as client:
        await (await client.get(first.url + "/livez")).read()
    assert first.server.address is not None
    second = Served(run_dir, port=first.server.address[1])
    async with second.running() as client, client.get(second.url + "/livez") as response:
        assert response.status == 200


async def test_a_busy_port_is_told_and_leaves_no_socket_behind(run_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        served = Served(run_dir, port=other.getsockname()[1])
        message = await served.fails_with()
    assert f"127.0.0.1:{served.server._options.http_port}: Address already in use" in message
    assert "ops.http" in message
    assert not served.socket_path.exists()


async def test_a_foreign_address_is_told(run_dir: Path) -> None:
    assert "192.0.2.1:0: Cannot assign requested address" in await Served(run_dir, host="192.0.2.1").fails_with()


async def test_a_socket_that_a_killed_agent_left_is_replaced(run_dir: Path) -> None:
    served = Served(run_dir)
    served.socket_path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(served.socket_path))
        killed.listen()
    assert served.socket_path.exists()
    async with served.running():
        assert stat.S_IMODE(served.socket_path.stat().st_mode) == 0o660


async def test_the_socket_of_a_running_agent_is_left_alone(run_dir: Path) -> None:
    first, second = Served(run_dir), Served(run_dir)
    async with first.running():
        assert "another agent answers there" in await second.fails_with()
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(first.socket_path))) as client:
            assert (await client.get("http://agent/livez")).status == 200


async def test_a_file_that_is_not_a_socket_is_left_alone(run_dir: Path) -> None:
    served = Served(run_dir)
    served.socket_path.parent.mkdir()
    served.socket_path.write_text("precious")
    assert "not a socket" in await served.fails_with()
    assert served.socket_path.read_text() == "precious"


async def test_a_socket_path_that_is_too_long_is_told(run_dir: Path) -> None:
    message = await Served(run_dir / ("x" * 100)).fails_with()
    assert "of 107 bytes" in message
    assert "ops.control_socket" in message


async def test_only_the_configured_listener_is_open(run_dir: Path) -> None:
    before = own_tcp_listeners()
    served = Served(run_dir)
    async with served.running():
        assert served.server.address is not None
        assert own_tcp_listeners() - before == {("0100007F", served.server.address[1])}
    assert own_tcp_listeners() == before


def own_tcp_listeners() -> set[tuple[str, int]]:
    """Address (hex, as the kernel prints it) and port of each socket of this process that listens, proc(5)."""
    own = {str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}
    found = set()
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in own:
                host, _, port = words[1].partition(":")
                found.add((host, int(port, 16)))
    return found
