"""The driver against the server of its own library (the demo's machine), and what importing it costs."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from asyncua import Server, ua

from edge_agent.testing.conformance import check_device
from tests.servers.opcua.reading import make_device, points, reporting
from tests.servers.opcua_server import NAMESPACE

NODES = {"Speed": 1200.5, "Program": "O1", "Running": True}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    for name, content in NODES.items():
        await server.nodes.objects.add_variable(ua.NodeId(name, index), name, content)
    async with server:
        yield f"opc.tcp://127.0.0.1:{port}"


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_the_driver_conforms_against_asyncuas_server(url: str, mode: str) -> None:
    device, _ = make_device(url, points([*NODES, "Nowhere"]), mode=mode)
    await check_device(device, point_count=4)


async def test_values_arrive_from_asyncuas_server(url: str) -> None:
    device, config = make_device(url, points(NODES))
    async with reporting(device, config) as collected:
        got = await collected.all_of(len(NODES))
    assert {name: reading.value for name, reading in got.items()} == NODES


def test_naming_the_driver_does_not_load_asyncua() -> None:
    code = "import sys, edge_agent_opcua; sys.exit('asyncua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
