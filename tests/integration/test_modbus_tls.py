"""Modbus Security against OpenSSL in front of libmodbus: who is let in, and what is said of who is not."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import DeviceUnavailableError
from edge_agent.testing.conformance import check_device
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus.session import ModbusUnit
from tests.servers.modbus_device import read_all, read_once, unit, words
from tests.servers.modbus_server import LibmodbusServer, libmodbus_server
from tests.servers.modbus_tls import Plant, old_server, tls_front


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Return who is known, and who is not."""
    plant = Plant.build(tmp_path_factory.mktemp("plant"))
    plant.issue("device", "127.0.0.1", "plc-07.example")
    plant.issue("stranger", "plc-08.example")
    plant.issue("expired", "127.0.0.1", until=datetime(2021, 1, 1, tzinfo=UTC))
    plant.issue("agent", "gateway.example")
    plant.lock("agent")
    Plant.build(plant.path("other")).issue("agent", "gateway.example")
    return plant


@pytest.fixture(scope="module")
def server() -> Iterator[LibmodbusServer]:
    with libmodbus_server() as server:
        yield server


def secure(plant: Plant, port: int, *, agent: str = "agent", **keys: Any) -> ModbusUnit:
    tls = {
        "ca": plant.path("ca.pem"),
        "certificate": plant.path(f"{agent}.pem"),
        "key": plant.path(f"{agent}.key"),
    }
    return unit(port, words(10, 11), tls=tls | keys.pop("tls", {}), **keys)


@pytest.fixture(scope="module")
def front(plant: Plant, server: LibmodbusServer) -> Iterator[int]:
    with tls_front(server.port, plant.path("device.pem"), plant.path("device.key"), plant.path("ca.pem")) as port:
        yield port


async def refusal(device: ModbusUnit) -> str:
    """Return why the device gives nothing; in TLS 1.3 it says so after the handshake only."""
    with pytest.raises(DeviceUnavailableError) as caught:
        async with asyncio.timeout(5):
            await read_once(device)
    return str(caught.value)


async def test_both_sides_show_certificates(plant: Plant, front: int) -> None:
    device = secure(plant, front)
    assert await read_once(device) == {0: 1010, 1: 1011}
    await check_device(device, point_count=2)


@pytest.mark.parametrize("version", ["TLS1.2", "TLS1.3"])
async def test_versions(plant: Plant, server: LibmodbusServer, version: str) -> None:
    options = f"openssl-min-proto-version={version}", f"openssl-max-proto-version={version}"
    files = plant.path("device.pem"), plant.path("device.key"), plant.path("ca.pem")
    with tls_front(server.port, *files, *options) as port:
        assert await read_once(secure(plant, port)) == {0: 1010, 1: 1011}
        assert "it refuses our certificate; let the device trust it" in await refusal(
            secure(plant, port, agent="other/agent")
        )


async def test_an_old_device(plant: Plant) -> None:
    with old_server(plant.path("device.pem"), plant.path("device.key")) as port:
        assert "it has no TLS 1.2 or newer; update its firmware" in await refusal(secure(plant, port))


async def test_a_device_that_is_not_trusted(plant: Plant, front: int) -> None:
    said = await refusal(secure(plant, front, tls={"ca": plant.path("other/ca.pem")}))
    assert "its certificate is not trusted; if it is the device's own, put it or its issuer's into tls.ca:" in said
    assert said.startswith(f"127.0.0.1:{front}: ")


async def test_a_device_that_is_trusted_itself(plant: Plant, front: int) -> None:
    assert await read_once(secure(plant, front, tls={"ca": plant.path("device.pem")})) == {0: 1010, 1: 1011}


async def test_a_certificate_that_has_expired(plant: Plant, server: LibmodbusServer) -> None:
    files = plant.path("expired.pem"), plant.path("expired.key"), plant.path("ca.pem")
    with tls_front(server.port, *files) as port:
        said = await refusal(secure(plant, port))
        assert "its certificate has expired; renew it on the device, or set the clock of this gateway" in said


async def test_the_name_in_the_certificate(plant: Plant, server: LibmodbusServer, front: int) -> None:
    assert await read_once(secure(plant, front, tls={"server_name": "plc-07.example"})) == {0: 1010, 1: 1011}
    said = await refusal(secure(plant, front, tls={"server_name": "plc-09.example"}))
    assert "its certificate is for another name; set tls.server_name:" in said
    assert "plc-09.example" in said
    files = plant.path("stranger.pem"), plant.path("stranger.key"), plant.path("ca.pem")
    with tls_front(server.port, *files) as port:
        assert "its certificate is for another address" in await refusal(secure(plant, port))
        assert await read_once(secure(plant, port, insecure_server_name=True)) == {0: 1010, 1: 1011}


async def test_a_device_without_tls(plant: Plant, server: LibmodbusServer) -> None:
    said = await refusal(secure(plant, server.port))
    assert "check port: (802 is usual)" in said


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ca": "none.pem"}, "cannot read {folder}/none.pem: No such file or directory"),
        ({"ca": "device.key"}, "{folder}/device.key has no certificate in PEM form"),
        ({"key": "ca.pem"}, "{folder}/agent.pem and {folder}/ca.pem are not a certificate and its private key"),
        ({"key": "device.key"}, "{folder}/agent.pem and {folder}/device.key do not belong together"),
        ({"key": "agent-locked.key"}, "in PEM form, without a passphrase"),
    ],
)
async def test_files_that_are_not_what_they_should_be(
    plant: Plant, front: int, keys: dict[str, str], said: str
) -> None:
    tls = {key: plant.path(name) for key, name in keys.items()}
    assert said.format(folder=plant.folder) in await refusal(secure(plant, front, tls=tls))


async def test_files_are_read_anew_for_each_connection(plant: Plant, front: int, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(plant.path("other/ca.pem").read_bytes())
    device = secure(plant, front, tls={"ca": ca})
    assert "not trusted" in await refusal(device)
    ca.write_bytes(plant.path("ca.pem").read_bytes())
    assert await read_once(device) == {0: 1010, 1: 1011}


async def test_a_handshake_that_never_ends_is_given_up(plant: Plant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel takes the connection, and nobody else
        device = secure(plant, listener.getsockname()[1])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await device.connect()


async def test_a_connection_that_ends(plant: Plant) -> None:
    files = plant.path("device.pem"), plant.path("device.key"), plant.path("ca.pem")
    with libmodbus_server() as mortal, tls_front(mortal.port, *files) as port:
        device = secure(plant, port)
        session = await device.connect()
        assert await read_all(device, session) == {0: 1010, 1: 1011}
    with pytest.raises(DeviceUnavailableError, match=r"closed the connection|broke the connection"):
        async with asyncio.timeout(5):
            await read_all(device, session)
    await session.close()


async def test_the_agent_is_told_when_certificates_end(plant: Plant, server: LibmodbusServer) -> None:
    plant.issue("short", "127.0.0.1", until=datetime(2094, 5, 6, tzinfo=UTC))
    plant.issue("mine", "gateway.example", until=datetime(2093, 5, 6, tzinfo=UTC))
    files = plant.path("short.pem"), plant.path("short.key"), plant.path("ca.pem")
    with tls_front(server.port, *files) as port:
        device = secure(plant, port, agent="mine")
        await read_once(device)
    context = device._context
    assert isinstance(context, FakeContext)
    assert context.expiries == {
        "own": (round(datetime(2093, 5, 6, tzinfo=UTC).timestamp()) * 10**9, f"renew {plant.path('mine.pem')}"),
        "server": (round(datetime(2094, 5, 6, tzinfo=UTC).timestamp()) * 10**9, "renew it on the device"),
    }
