"""A server that dies, hangs or comes back changed: the loss is told in time, and a new session has the data."""

import asyncio
import gc
import logging
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent.model import ReadingBatch
from edge_agent.testing.conformance import check_unavailable
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from tests.servers.opcua.certificates import make_certificate
from tests.servers.opcua.reading import Collected, connect, make_device, points, reporting
from tests.servers.opcua_server import OpcUaServer, opcua_server


@pytest.fixture(scope="module")
def steady_server() -> Iterator[OpcUaServer]:
    """One that no test harms."""
    with opcua_server() as running:
        yield running


@pytest.fixture
def server() -> Iterator[OpcUaServer]:
    with opcua_server() as running:
        yield running


async def test_a_killed_server_is_noticed_at_once_and_a_new_session_has_the_data(server: OpcUaServer) -> None:
    device, config = make_device(server.url, points(["Counter"]))
    session, collected = await connect(device), Collected(config)
    began_s = 0.0
    with pytest.raises(ExceptionGroup) as told:  # noqa: PT012 - the loss ends the group
        async with asyncio.TaskGroup() as group:
            group.create_task(session.run(collected.emit))
            await eventually(lambda: collected.batches)
            began_s = time.monotonic()
            await asyncio.to_thread(server.kill)
    assert told.group_contains(DeviceUnavailableError)
    assert time.monotonic() - began_s < 2
    await session.close()
    await check_unavailable(device)

    await asyncio.to_thread(server.start, filler=3)  # the namespace has another index now
    async with reporting(device, config) as again:
        assert (await again.all_of(1))["Counter"].status == 0


async def test_a_hanging_server_is_noticed_within_the_keep_alive_and_a_margin(server: OpcUaServer) -> None:
    device, config = make_device(server.url, points(["Program"]), keep_alive="500ms", timeout="500ms")
    session, collected = await connect(device), Collected(config)
    try:
        began_s = 0.0
        with pytest.raises(ExceptionGroup) as told:  # noqa: PT012 - the loss ends the group
            async with asyncio.TaskGroup() as group:
                group.create_task(session.run(collected.emit))
                await eventually(lambda: collected.batches)
                began_s = time.monotonic()
                server.pause()
                await asyncio.Event().wait()  # a group that fails in __aexit__ leaves a cancellation behind (3.11)
        assert told.group_contains(DeviceUnavailableError, match=r"said nothing for 1\.0 s")
        assert time.monotonic() - began_s < 2
    finally:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):  # the agent's close time-out: the server does not answer
                await session.close()
        server.resume()


async def test_a_server_with_nothing_to_report_is_not_taken_for_dead(steady_server: OpcUaServer) -> None:
    device, config = make_device(steady_server.url, points(["Program"]), keep_alive="300ms", timeout="900ms")
    async with reporting(device, config) as collected:
        await collected.all_of(1)
        await asyncio.sleep(2.4)  # twice the silence that would be a loss
    assert len(collected.batches) == 1


async def test_a_read_from_a_dead_server_ends_the_session_and_one_from_a_hanging_server_can_be_cancelled(
    server: OpcUaServer,
) -> None:
    device, _ = make_device(server.url, points(["Counter"]), mode="poll")
    (request,) = device.plan(device.polled, frozenset())
    session = await connect(device)
    server.pause()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await session.read(request)
    server.resume()
    assert len(await session.read(request)) == 1  # the late answer was not taken for this one
    await asyncio.to_thread(server.kill)
    with pytest.raises((DeviceUnavailableError, ExchangeError)):
        await session.read(request)
    with pytest.raises(DeviceUnavailableError):
        await session.read(request)
    await session.close()


async def test_a_cancelled_connect_leaves_no_task_and_no_socket(server: OpcUaServer) -> None:
    device, _ = make_device(server.url, points(["Counter"]))
    await (await connect(device)).close()
    tasks = asyncio.all_tasks()
    server.pause()
    for _ in range(5):
        with pytest.raises(TimeoutError):
            await connect(device, within_s=0.05)
    server.resume()
    for after_s in (0.0, 0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.08):
        try:
            session = await connect(device, within_s=after_s)
        except TimeoutError:
            continue
        await session.close()
    assert asyncio.all_tasks() == tasks
    for _ in range(100):
        left = await asyncio.to_thread(_sockets, server.port)
        if not left:
            break
        await asyncio.sleep(0.01)
    assert left == 0


async def test_a_reader_that_is_slow_costs_no_reading(steady_server: OpcUaServer) -> None:
    device, config = make_device(steady_server.url, points(["Counter"], sampling_interval="10ms"), queue_size=1000)
    session, collected = await connect(device), Collected(config)

    async def slow(batch: ReadingBatch) -> None:
        await asyncio.sleep(0.7)
        await collected.emit(batch)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(session.run(slow))
        await eventually(lambda: len(collected.batches) >= 4)
        running.cancel()
    await session.close()
    counts = [reading.value for _, reading in collected.all]
    assert counts == sorted(set(counts))
    # One notification is a dozen of readings; a busy server skips a sample now and then by itself.
    assert max(after - before for before, after in pairwise(counts)) <= 5


async def test_failing_attempts_do_not_use_up_the_servers_sessions() -> None:
    with opcua_server(maxSessions=3, maxSubscriptions=1) as server:
        device, _ = make_device(server.url, points(["Counter"]))
        first = await connect(device)
        for _ in range(5):
            with pytest.raises(DeviceUnavailableError, match="BadTooManySubscriptions"):
                await connect(device)
        await first.close()
        await (await connect(device)).close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"ACKF\x1c\0\0\0" + b"\xff" * 20, b"ERRF\x08\0\0\0", b"\0" * 64],
)
async def test_whatever_answers_at_the_port_is_told_as_unavailable_and_not_logged(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as impostor:
        port = impostor.sockets[0].getsockname()[1]
        device, _ = make_device(f"opc.tcp://127.0.0.1:{port}", points(["Counter"]))
        await check_unavailable(device)
    gc.collect()  # an exception that nobody took would be logged now
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_port_of_another_protocol_is_told_from_a_cut_cable(
    greeting: bytes, tmp_path: Path, *, secure: bool
) -> None:
    open_now = 0

    class Other(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal open_now
            open_now += 1
            assert isinstance(transport, asyncio.Transport)
            transport.write(greeting)  # and never a word of OPC UA

        def connection_lost(self, _: Exception | None) -> None:
            nonlocal open_now
            open_now -= 1

    keys: dict[str, Any] = {"connect_timeout": "200ms"}
    if secure:
        certificate, key = make_certificate("urn:own", key=1).write(tmp_path, "own")
        keys |= {"security_policy": "Basic256Sha256", "trusted": [str(certificate)]}
        keys |= {"certificate": str(certificate), "private_key": str(key)}
    async with await asyncio.get_running_loop().create_server(Other, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        context = FakeContext("cnc", directory=tmp_path / "store")
        device, _ = make_device(f"opc.tcp://127.0.0.1:{port}", points(["Counter"]), context=context, **keys)
        with pytest.raises(DeviceUnavailableError, match=r"does not answer as OPC UA .*check the port"):
            await connect(device)
        await eventually(lambda: open_now == 0)


async def test_a_connection_that_is_closed_before_we_have_spoken_is_over_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect_socket = Client.connect_socket

    async def slowly(client: Client) -> None:
        await connect_socket(client)
        protocol = client.uaclient.protocol
        await eventually(lambda: protocol is not None and protocol.is_closed)

    monkeypatch.setattr(Client, "connect_socket", slowly)
    # As a forwarded port does while nobody listens behind it.
    async with await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0) as forwarded:
        port = forwarded.sockets[0].getsockname()[1]
        device, _ = make_device(f"opc.tcp://127.0.0.1:{port}", points(["Counter"]), connect_timeout="1min")
        with pytest.raises(DeviceUnavailableError, match="connection lost"):
            await connect(device)


async def test_a_chunk_without_end_takes_no_memory() -> None:
    endless = 256 * 2**20
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(1)
        writer.write(b"ACKF\xf0\xff\xff\xff")
        with suppress(ConnectionError):
            while sent < endless:
                writer.write(bytes(2**20))
                await writer.drain()
                sent += 2**20
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as impostor:
        port = impostor.sockets[0].getsockname()[1]
        device, _ = make_device(f"opc.tcp://127.0.0.1:{port}", points(["Counter"]))
        async with asyncio.timeout(10):
            await check_unavailable(device)
    assert sent < endless / 4  # what the buffers of the sockets took


def _sockets(port: int) -> int:
    """Return how many TCP connections of this machine lead to ``port`` and are open."""

    table = Path("/proc/net/tcp").read_text()
    return len(re.findall(rf"^ *\d+: \S+ \S+:{port:04X} 0[12] ", table, re.MULTILINE))
