"""Which address of a device, and from which of our own: IPv6, standby addresses, two networks on one box."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import DeviceUnavailableError
from edge_agent.testing.conformance import check_device
from edge_agent.testing.eventually import eventually
from edge_agent_modbus.rtu import crc
from tests.servers.modbus_device import read_all, read_once, unit, unit_on, words
from tests.servers.modbus_server import Gesture, libmodbus_server, registers_reply, scripted_server
from tests.servers.modbus_tls import Plant, tls_front

PRIMARY, STANDBY = "127.0.0.1", "127.0.0.2"
P_HOLDS, S_HOLDS = ({(1, 3, 10): word} for word in (b"\0\x01", b"\0\x02"))


async def test_ipv6() -> None:
    with libmodbus_server(host="::1") as server:
        device = unit_on({"host": "::1", "port": server.port}, words(10))
        await check_device(device, point_count=1)
        assert await read_once(device) == {0: 1010}


async def test_tls_over_ipv6(tmp_path: Path) -> None:
    plant = Plant.build(tmp_path)
    plant.issue("device", "::1")
    certificate, key, ca = (plant.path(name) for name in ("device.pem", "device.key", "ca.pem"))
    with libmodbus_server() as server, tls_front(server.port, certificate, key, ca, host="[::1]") as port:
        tls = {"ca": ca, "certificate": certificate, "key": key}
        assert await read_once(unit_on({"host": "::1", "port": port, "tls": tls}, words(10))) == {0: 1010}


async def test_the_address_that_the_device_sees() -> None:
    async with scripted_server(lambda request, _: registers_reply(request)) as server:
        device = unit(server.port, words(10), source_address="127.0.0.2")
        session = await device.connect()
        assert await read_all(device, session) == {0: 10}
        assert server.writers[0].get_extra_info("peername")[0] == "127.0.0.2"
        await session.close()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"source_address": "192.0.2.1"}, "source_address: 192.0.2.1 is no address of this machine"),
        ({"source_address": "::1"}, "source_address: ::1 is of another IP version than 127.0.0.1"),
        ({"interface": "nope0"}, "interface: nope0 is not there; there are lo"),
    ],
)
async def test_a_way_that_is_not_there(keys: dict[str, Any], said: str) -> None:
    with libmodbus_server() as server, pytest.raises(DeviceUnavailableError, match=said):
        await unit(server.port, words(10), **keys).connect()


async def test_an_interface() -> None:
    with libmodbus_server() as server:
        assert await read_once(unit(server.port, words(10), interface="lo")) == {0: 1010}


def test_an_interface_that_only_root_may_choose() -> None:
    """Without the capability, the kernel lets a socket choose once."""
    program = (
        "import os, socket\n"
        "from edge_agent.errors import DeviceUnavailableError\n"
        "from edge_agent_modbus.dialer import Route, bind\n"
        "os.getuid() or os.setuid(65534)\n"
        "with socket.socket() as sock:\n"
        "    bind(sock, Route(['h'], 1, interface='lo'))\n"
        "    try: bind(sock, Route(['h'], 1, interface='lo'))\n"
        "    except DeviceUnavailableError as exc: print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "interface: lo may not be chosen; it takes Linux 5.7 or CAP_NET_RAW\n"


@contextmanager
def networks(folder: Path) -> Iterator[dict[str, int]]:
    """Make two networks that have 10.77.0.2; yield what its register holds, by interface."""
    name, behind = f"ea{os.getpid() % 100_000}", {}
    with ExitStack() as stack:
        for number in (1, 2):
            near, far, space = f"{name}n{number}", f"{name}f{number}", f"{name}s{number}"
            relay = folder / f"relay-{number}"
            server = stack.enter_context(libmodbus_server(registers={(1, 3, 10): bytes([0, number])}))
            run("ip", "netns", "add", space)
            stack.callback(run, "ip", "netns", "del", space)
            run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
            stack.callback(run, "ip", "link", "del", near)
            run("ip", "addr", "add", f"10.77.0.{10 + number}/24", "dev", near)
            run("ip", "link", "set", near, "up")
            run("ip", "-n", space, "addr", "add", "10.77.0.2/24", "dev", far)
            run("ip", "-n", space, "link", "set", far, "up")
            out = ["socat", f"UNIX-LISTEN:{relay},fork", f"TCP:127.0.0.1:{server.port}"]
            into = ["socat", "TCP-LISTEN:502,bind=10.77.0.2,fork,reuseaddr", f"UNIX-CONNECT:{relay}"]
            for command in (out, ["ip", "netns", "exec", space, *into]):
                process = stack.enter_context(subprocess.Popen(command))
                stack.callback(process.terminate)
            behind[near] = number
        yield behind


def run(*command: str) -> None:
    subprocess.run(command, check=True)


@pytest.mark.skipif(subprocess.call(["unshare", "--net", "true"]) != 0, reason="making networks takes root")
async def test_two_networks_with_the_same_addresses(tmp_path: Path) -> None:
    with networks(tmp_path) as behind:
        for interface, number in [*behind.items(), *behind.items()]:
            device = unit_on({"host": "10.77.0.2", "interface": interface}, words(10))
            async with asyncio.timeout(10):
                while True:
                    try:
                        assert await read_once(device) == {0: number}
                        break
                    except DeviceUnavailableError:  # the relay has not begun to listen
                        await asyncio.sleep(0.02)


async def test_the_standby_is_used_when_the_primary_dies_and_left_when_it_dies_itself() -> None:
    with ExitStack() as primary, ExitStack() as standby:
        port = primary.enter_context(libmodbus_server(host=PRIMARY, registers=P_HOLDS)).port
        standby.enter_context(libmodbus_server(host=STANDBY, port=port, registers=S_HOLDS))
        device = unit_on({"hosts": [PRIMARY, STANDBY], "port": port}, words(10))
        session = await device.connect()
        assert await read_all(device, session) == {0: 1}
        assert session.remarks == ()
        primary.close()
        with pytest.raises(DeviceUnavailableError, match=f"{PRIMARY}:{port} "):
            await read_all(device, session)
        await session.close()
        session = await device.connect()
        assert await read_all(device, session) == {0: 2}
        assert session.remarks == (f"connected to {STANDBY}:{port}, which is a standby of {PRIMARY}:{port}",)
        await session.close()
        with libmodbus_server(host=PRIMARY, port=port, registers=P_HOLDS):
            assert await read_once(device) == {0: 2}, "the one that answered last comes first"
            standby.close()
            assert await read_once(device) == {0: 1}


async def test_one_that_takes_connections_and_never_answers_comes_last_the_next_time() -> None:
    async with scripted_server(lambda _request, _: Gesture.SILENCE) as mute:
        with libmodbus_server(host=STANDBY, port=mute.port):
            device = unit_on({"hosts": [PRIMARY, STANDBY], "port": mute.port}, words(10))
            async with asyncio.TaskGroup() as group:
                asked = group.create_task(read_once(device))
                await eventually(lambda: mute.requests)
                asked.cancel()
            assert await read_once(device) == {0: 1010}
            assert await read_once(device) == {0: 1010}
        assert mute.connections == 1


async def test_one_that_says_nothing_at_all_takes_its_share_of_the_time() -> None:
    with libmodbus_server(host=STANDBY) as server, ExitStack() as stack:
        full = stack.enter_context(socket.create_server((PRIMARY, server.port), backlog=0))
        for _ in range(2):  # then the kernel drops whoever comes
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        device = unit_on({"hosts": [PRIMARY, STANDBY], "port": server.port, "connect_timeout": "3s"}, words(10))
        async with asyncio.timeout(3):
            session = await device.connect()
        assert await read_all(device, session) == {0: 1010}
        await session.close()


async def test_when_none_is_there_each_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DeviceUnavailableError) as caught:
            await unit_on({"hosts": [PRIMARY, "no-such-host.invalid"], "port": port}, words(10)).connect()
    assert f"127.0.0.1:{port}: nothing listens there" in str(caught.value)
    assert f"no-such-host.invalid:{port}: the name has no address" in str(caught.value)


async def test_rtu_over_ipv6() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(8)
        answer = request[:2] + b"\x02" + request[2:4]
        writer.write(answer + crc(answer))
        writer.close()

    async with await asyncio.start_server(serve, "::1", 0) as server:
        wire = {"host": "::1", "port": server.sockets[0].getsockname()[1], "transport": "rtu_over_tcp"}
        assert await read_once(unit_on(wire, words(77))) == {0: 77}
