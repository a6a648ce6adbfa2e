"""ASCII and UDP against pymodbus's server: every table of answers, several units, losses."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, cast

import pytest

from edge_agent.collect.line import Lines
from edge_agent.errors import DeviceUnavailableError
from edge_agent.model import Quality
from edge_agent.testing.conformance import check_device
from edge_agent_modbus.dialer import Dialer, Route
from edge_agent_modbus.pdu import Table, read_pdu
from edge_agent_modbus.tcp import HEADER
from edge_agent_modbus.udp import UdpTransport
from tests.servers.modbus_device import read_once, unit_on, words
from tests.servers.modbus_foreign import ascii_gateway, ascii_line, udp_server

Served = Callable[..., AbstractAsyncContextManager[dict[str, Any]]]


WAYS: dict[str, Served] = {
    "udp": udp_server,
    "udp-ipv6": partial(udp_server, host="::1"),
    "ascii_over_tcp": ascii_gateway,
    "ascii_over_tcp-ipv6": partial(ascii_gateway, host="::1"),
    "ascii": ascii_line,
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def served(request: pytest.FixtureRequest) -> Served:
    made: Served = request.param
    return made


async def test_units_give_their_own_values(served: Served) -> None:
    lines = Lines()
    async with served([1, 2, 17]) as keys:
        for number in (1, 2, 17):
            device = unit_on(keys, words(3, 100, 101), lines, unit=number)
            assert await read_once(device) == {n: 1000 * number + a for n, a in enumerate((3, 100, 101))}


async def test_conforms_to_the_contract(served: Served) -> None:
    async with served() as keys:
        await check_device(unit_on(keys, words(1, 2, 150)), point_count=3)


async def test_a_refused_register_costs_none_of_the_others(served: Served) -> None:
    async with served() as keys:
        got = await read_once(unit_on(keys, words(198, 199, 200)))
    assert got == {0: 1198, 1: 1199, 2: Quality.BAD_NODE_ID_UNKNOWN}


class Lossy(asyncio.DatagramProtocol):
    """Registers hold their address; every fourth datagram is lost, every fifth comes twice, one comes damaged."""

    def __init__(self) -> None:
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.asked += 1
        answer = data[:4] + b"\0\5" + data[6:8] + b"\2" + data[8:10]
        if self.asked == 6:
            answer = answer[:-1]
        if self.asked % 4:
            self._transport.sendto(answer, address)
        if self.asked % 5 == 0:
            self._transport.sendto(answer, address)


async def udp(port: int, answer_s: float) -> UdpTransport:
    return await Dialer(Route(["127.0.0.1"], port)).connect(
        lambda peer: UdpTransport(peer, answer_s), socket.SOCK_DGRAM
    )


async def test_what_udp_loses_is_asked_again_and_no_answer_is_anothers() -> None:
    loop = asyncio.get_running_loop()
    server, lossy = await loop.create_datagram_endpoint(Lossy, ("127.0.0.1", 0))
    transport = await udp(server.get_extra_info("sockname")[1], 0.02)
    for address in range(30):
        async with asyncio.timeout(5):
            answer = await transport.exchange(1, read_pdu(Table.HOLDING, address, 1))
        assert int.from_bytes(answer[2:]) == address
    assert lossy.asked > 30
    assert transport.discarded >= 2
    transport.close()
    transport.close()
    server.close()


@pytest.mark.parametrize(
    "data", [b"", b"\0\1", HEADER.pack(1, 1, 5, 1) + b"\3\2\0\1", HEADER.pack(2, 0, 5, 1) + b"\3\2\0\1"]
)
async def test_a_datagram_that_is_no_answer_is_discarded(data: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        transport = await udp(peer.getsockname()[1], 10.0)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(transport.exchange(1, read_pdu(Table.HOLDING, 7, 1)))
            _, address = await asyncio.to_thread(peer.recvfrom, 100)
            peer.sendto(data, address)
            peer.sendto(HEADER.pack(1, 0, 5, 1) + b"\3\2\0\7", address)
            assert await asked == b"\3\2\0\7"
        assert transport.discarded == 1
        transport.close()


async def test_a_port_without_udp_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    transport = await udp(port, 1.0)
    with pytest.raises(DeviceUnavailableError, match="has nothing that listens there; check port:"):
        async with asyncio.timeout(5):
            await transport.exchange(1, read_pdu(Table.HOLDING, 7, 1))


def test_the_driver_needs_nothing_of_pymodbus() -> None:
    program = (
        "import pkgutil, sys; sys.modules['pymodbus'] = None; import edge_agent_modbus as driver\n"
        "for one in pkgutil.walk_packages(driver.__path__, 'edge_agent_modbus.'): __import__(one.name)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
