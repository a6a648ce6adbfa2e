"""The TCP transport against peers that break the rules."""

import asyncio
import socket
import struct

import pytest

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent.testing.eventually import eventually
from edge_agent_modbus.pdu import Table, read_payload, read_pdu
from edge_agent_modbus.tcp import TcpTransport
from tests.servers.modbus_device import open_tcp, read_all, unit, words
from tests.servers.modbus_server import (
    Answer,
    Gesture,
    Script,
    libmodbus_server,
    registers_reply,
    reply,
    scripted_server,
)


async def ask(
    transport: TcpTransport, address: int, count: int = 1, unit_id: int = 1, within_s: float = 10.0
) -> list[int]:
    """Read registers, which hold their own address."""
    async with asyncio.timeout(within_s):
        answer = await transport.exchange(unit_id, read_pdu(Table.HOLDING, address, count))
    payload = read_payload(Table.HOLDING, count, answer)
    assert isinstance(payload, bytes)
    return list(struct.unpack(f">{count}H", payload))


def first(answer: Answer) -> Script:
    """Return a script that gives ``answer`` to the first request and then behaves."""
    return lambda request, number: registers_reply(request) if number else answer


def first_reply(**changes: int) -> Script:
    return lambda request, number: registers_reply(request) if number else registers_reply(request, **changes)


@pytest.mark.parametrize("changes", [{"transaction": 0}, {"transaction": 2}, {"transaction": 0xFFFF}])
async def test_an_answer_with_another_transaction_is_nobodys(changes: dict[str, int]) -> None:
    async with scripted_server(first_reply(**changes)) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        with pytest.raises(TimeoutError):
            await ask(transport, 10, within_s=0.05)
        assert await ask(transport, 20) == [20]
        assert (transport.discarded, transport.lost) == (1, None)
        transport.close()


async def test_an_answer_of_another_unit_is_refused() -> None:
    async with scripted_server(first_reply(unit=2)) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        with pytest.raises(ExchangeError, match="unit 2 answered a request to unit 1"):
            await ask(transport, 10)
        assert await ask(transport, 20) == [20]
        transport.close()


@pytest.mark.parametrize(
    "pdu",
    [
        b"\x04\x02\x00\x0a",  # another function
        b"\x84\x02",  # exception to another function
        b"\x03\x04\x00\x0a\x00\x0b",  # a register too many
        b"\x03\x02\x00",  # a byte short
        b"\x03\x04\x00\x0a",  # byte count is wrong
        b"\x03",
        b"\x83\x02\x00",
    ],
)
async def test_an_answer_that_does_not_fit_the_request_is_refused_and_the_next_is_not(pdu: bytes) -> None:
    async with scripted_server(
        lambda request, n: registers_reply(request) if n else reply(request, pdu)
    ) as server:
        device = unit(server.port, words(10))
        session = await device.connect()
        with pytest.raises(ExchangeError):
            await read_all(device, session)
        assert await read_all(device, session) == {0: 10}
        await session.close()


async def test_a_late_answer_is_discarded_and_never_taken_for_the_next() -> None:
    with libmodbus_server(delays_ms={2: 60}) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        with pytest.raises(TimeoutError):
            await ask(transport, 10, unit_id=2, within_s=0.05)
        async with asyncio.timeout(5):
            answer = await transport.exchange(1, read_pdu(Table.HOLDING, 20, 1))
        assert read_payload(Table.HOLDING, 1, answer) == struct.pack(">H", 1020)
        assert (transport.discarded, transport.lost) == (1, None)
        transport.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        struct.pack(">HHHB", 1, 1, 5, 1) + b"\x03\x02\x00\x0a",  # protocol id
        struct.pack(">HHHB", 1, 0, 255, 1) + b"\x03\x02\x00\x0a",  # longer than Modbus allows
        struct.pack(">HHHB", 1, 0, 1, 1),  # no function code
    ],
)
async def test_what_is_not_modbus_ends_the_connection_at_once(garbage: bytes) -> None:
    async with scripted_server(first(garbage)) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        with pytest.raises(DeviceUnavailableError, match=r"sends what is not Modbus TCP \(.*\); check port:"):
            await ask(transport, 10)
        with pytest.raises(DeviceUnavailableError, match="not Modbus TCP"):
            await ask(transport, 20)


@pytest.mark.parametrize(("gesture", "what"), [(Gesture.RESET, "broke the connection"), (Gesture.CLOSE, "closed")])
async def test_a_connection_that_ends_shows_at_once(gesture: Gesture, what: str) -> None:
    async with scripted_server(first(gesture)) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        with pytest.raises(DeviceUnavailableError, match=f"127.0.0.1:{server.port} {what}.*check the device"):
            await transport.exchange(1, read_pdu(Table.HOLDING, 0, 1))


async def test_half_an_answer_ends_the_connection_with_its_exchange() -> None:
    async with scripted_server(lambda request, _: registers_reply(request)[:-1]) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        with pytest.raises(TimeoutError):
            await ask(transport, 10, within_s=0.05)
        with pytest.raises(DeviceUnavailableError, match="in the middle of an answer"):
            await ask(transport, 20)


async def test_answers_that_nobody_asked_for_are_counted_and_bounded() -> None:
    async with scripted_server(lambda request, _: registers_reply(request)) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        assert await ask(transport, 10) == [10]
        alien = reply(server.requests[0], b"\x03\x02\x00\x63", transaction=999)
        server.send(alien * 50)
        assert await ask(transport, 20) == [20]
        assert transport.discarded == 50
        server.send(alien * 101)
        with pytest.raises(DeviceUnavailableError, match="101 answers in a row that nobody waits for"):
            await ask(transport, 30)


async def test_answers_in_any_pieces_are_put_together() -> None:
    async with scripted_server(lambda _request, _: Gesture.SILENCE) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(transport.exchange(1, read_pdu(Table.HOLDING, 7, 2)))
            also = group.create_task(transport.exchange(1, read_pdu(Table.HOLDING, 9, 1)))
            await eventually(lambda: len(server.requests) == 2)
            stream = registers_reply(server.requests[1]) + registers_reply(server.requests[0])
            for byte in stream:
                server.send(bytes([byte]))
                await asyncio.sleep(0)
        assert asked.result() == b"\x03\x04\x00\x07\x00\x08"
        assert also.result() == b"\x03\x02\x00\x09"
        transport.close()


async def test_a_peer_that_takes_nothing_from_the_wire_is_given_up() -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with listener:
        transport = await open_tcp("127.0.0.1", listener.getsockname()[1])
        transport._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        for _ in range(10_000):
            with pytest.raises((TimeoutError, DeviceUnavailableError)):
                async with asyncio.timeout(0):
                    await transport.exchange(1, bytes(200))
            if transport.lost is not None:
                break
        with pytest.raises(DeviceUnavailableError, match="takes no more requests"):
            await transport.exchange(1, b"")


async def test_transactions_never_use_zero_and_wrap() -> None:
    async with scripted_server(lambda request, _: registers_reply(request)) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        transport._transaction = 0xFFFE
        for address in (1, 2, 3):
            assert await ask(transport, address) == [address]
        assert [int.from_bytes(request[:2]) for request in server.requests] == [0xFFFF, 1, 2]
        transport.close()


async def test_the_kernel_watches_over_a_peer_that_vanishes() -> None:
    async with scripted_server(lambda request, _: registers_reply(request)) as server:
        transport = await open_tcp("127.0.0.1", server.port)
        sock = transport._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        transport.close()
        transport.close()


async def test_ipv6() -> None:
    async with scripted_server(lambda request, _: registers_reply(request), host="::1") as server:
        transport = await open_tcp("::1", server.port)
        assert await ask(transport, 5, 2) == [5, 6]
        transport.close()
        with pytest.raises(DeviceUnavailableError, match=rf"\[::1\]:{server.port}"):
            await ask(transport, 5)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64, "plc..local"])
async def test_a_name_without_an_address_says_so(host: str) -> None:
    with pytest.raises(DeviceUnavailableError, match=r"has no address .*check host: and DNS"):
        await open_tcp(host, 502)


async def test_connecting_can_be_cancelled() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await open_tcp("127.0.0.1", 9)
