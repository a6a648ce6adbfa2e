"""What pseudo-terminals cannot show: settings as the kernel gets them, silences, a port that is gone.

How that looks on a wire is not verified: it takes hardware.
"""

import asyncio
import fcntl
import os
import socket
import termios
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.errors import DeviceUnavailableError
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.pdu import Table, read_pdu
from edge_agent_modbus.rtu import RtuTransport
from edge_agent_modbus.serial_port import SerialModel, SerialTransport, open_port
from tests.servers.modbus_bus import Terminal, terminal
from tests.servers.virtual_bus import Units, VirtualBus
from tests.servers.virtual_time import run_at_once

READ = read_pdu(Table.HOLDING, 0, 2)


@pytest.fixture
def port() -> Iterator[Terminal]:
    with terminal() as opened:
        yield opened


class Listener(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


@pytest.mark.parametrize("baud_rate", [300, 1200, 9600, 19200, 38400, 57600, 115200, 921600])
@pytest.mark.parametrize("parity", ["none", "even", "odd"])
@pytest.mark.parametrize("stop_bits", [1, 2])
@pytest.mark.parametrize("data_bits", [7, 8])
async def test_the_kernel_is_told_what_is_configured(
    port: Terminal, baud_rate: int, parity: Any, stop_bits: Any, data_bits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[Any]] = []
    monkeypatch.setattr(termios, "tcsetattr", lambda _file, _when, settings: told.append(settings))
    settings = SerialModel(
        port=port.path, baud_rate=baud_rate, parity=parity, stop_bits=stop_bits, data_bits=data_bits
    )
    listener = Listener()
    open_port(settings, listener)
    listener.transport.close()
    inward, outward, control, local, in_speed, out_speed, characters = told[-1]
    assert in_speed == out_speed == getattr(termios, f"B{baud_rate}")
    assert bool(control & termios.PARENB) is (parity != "none")
    assert bool(control & termios.PARODD) is (parity == "odd")
    assert bool(control & termios.CSTOPB) is (stop_bits == 2)
    assert control & termios.CSIZE == (termios.CS7 if data_bits == 7 else termios.CS8)
    assert control & termios.CREAD
    assert control & termios.CLOCAL, "waits for a modem"
    assert not control & termios.CRTSCTS
    assert not inward & (termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR | termios.ISTRIP)
    assert not outward & termios.OPOST
    assert not local & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert (characters[termios.VMIN], characters[termios.VTIME]) == (0, 0), "a read may wait"


async def test_nobody_else_gets_the_port(port: Terminal) -> None:
    listener = Listener()
    open_port(SerialModel(port=port.path), listener)
    other = os.open(port.path, os.O_RDWR | os.O_NOCTTY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    listener.transport.close()
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


@pytest.mark.parametrize(("parity", "data_bits"), [("even", 8), ("odd", 7), ("none", 7), ("none", 8)])
async def test_a_pseudo_terminal_is_opened_again_whatever_it_does_not_have(
    port: Terminal, parity: Any, data_bits: Any
) -> None:
    for _ in range(3):
        listener = Listener()
        open_port(SerialModel(port=port.path, parity=parity, data_bits=data_bits), listener)
        listener.transport.close()


async def test_a_port_that_does_not_have_what_is_configured_says_so(
    port: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise termios.error(22, "Invalid argument")

    monkeypatch.setattr(termios, "tcsetattr", refuse)
    with pytest.raises(DeviceUnavailableError, match=r"cannot be opened \(.*Invalid argument.*\); check serial:"):
        open_port(SerialModel(port=port.path), Listener())


async def test_a_port_that_is_none_says_what_to_check(tmp_path: Any) -> None:
    (tmp_path / "no-port").write_text("")
    with pytest.raises(DeviceUnavailableError, match=r"cannot be opened .*; check serial:"):
        open_port(SerialModel(port=str(tmp_path / "no-port")), Listener())


@pytest.mark.parametrize(
    ("serial", "pause", "silence_s"),
    [
        ({"baud_rate": 1200}, None, 3.5 * 11 / 1200),
        ({"baud_rate": 9600}, None, 3.5 * 11 / 9600),
        ({"baud_rate": 9600, "parity": "none"}, None, 3.5 * 10 / 9600),
        ({"baud_rate": 9600, "parity": "none", "stop_bits": 2}, None, 3.5 * 11 / 9600),
        ({"baud_rate": 19200}, None, 3.5 * 11 / 19200),
        ({"baud_rate": 38400}, None, 0.00175),  # MODBUS over Serial Line V1.02 §2.5.1.1
        ({"baud_rate": 115200}, None, 0.00175),
        ({"baud_rate": 9600}, "50ms", 0.05),
        ({"baud_rate": 9600}, "1ms", 3.5 * 11 / 9600),
    ],
)
def test_the_silence_between_frames(serial: dict[str, Any], pause: str | None, silence_s: float) -> None:
    keys: dict[str, Any] = {"serial": {"port": "/dev/ttyS0", **serial}, **({"pause": pause} if pause else {})}
    points = [{"name": "p", "holding": 0, "type": "uint16"}]
    device = ModbusDevice.model_validate({"id": "d", "driver": "modbus", "points": points, **keys})
    assert device.silence_s == pytest.approx(silence_s)


@pytest.mark.parametrize("baud_rate", [300, 9600, 115200])
def test_the_silence_is_kept_and_not_exceeded(baud_rate: int) -> None:
    async def exchanges() -> list[float]:
        bus = VirtualBus(Units({1}), baud_rate, max(0.00175, 3.5 * 11 / baud_rate), answer_s=5.0)
        transport = await bus.open()
        loop = asyncio.get_running_loop()
        silences = []
        for _ in range(20):
            await transport.exchange(1, READ)
            answered_s = loop.time()
            await transport.exchange(1, READ)
            silences.append(bus.requests[-1][0] - answered_s)
        return silences

    assert run_at_once(exchanges()) == pytest.approx([max(0.00175, 3.5 * 11 / baud_rate)] * 20)


def test_a_request_that_is_given_up_is_sent_to_its_end_before_the_next() -> None:
    async def exchanges() -> list[float]:
        bus = VirtualBus(Units({2}), 300, 3.5 * 11 / 300, answer_s=5.0)
        transport = await bus.open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.5 * 11 / 300 + 0.001):
                await transport.exchange(1, READ)
        await transport.exchange(2, READ)
        return [at_s for at_s, _ in bus.requests]

    first_s, second_s = run_at_once(exchanges())
    assert second_s - first_s == pytest.approx((8 + 3.5) * 11 / 300)


def test_what_nobody_asked_for_ends_before_the_next_request() -> None:
    """Adapters hand a frame on in pieces, with gaps that are longer than a silence on the wire."""

    async def exchanges() -> tuple[float, float]:
        bus = VirtualBus(Units({1}), 9600, 0.004, answer_s=1.0)
        transport = await bus.open()
        loop = asyncio.get_running_loop()
        for number in range(5):
            loop.call_at(0.016 * number, transport.data_received, b"\1\3\2")
        await asyncio.sleep(0.02)
        await transport.exchange(1, READ)
        return bus.requests[0][0], transport.discarded

    sent_s, discarded = run_at_once(exchanges())
    assert sent_s >= 0.064 + 0.05
    assert discarded == 1


class Port:
    """A port that is one end of a pair of sockets."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.is_open = True

    def fileno(self) -> int:
        return self._end.fileno()

    def close(self) -> None:
        self.is_open = False
        self._end.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Port]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield far, Port(near)


async def test_an_adapter_that_is_pulled_out_ends_the_line(ends: tuple[socket.socket, Port]) -> None:
    far, port = ends
    transport = RtuTransport("/dev/ttyUSB0", 0.002, 1.0)
    SerialTransport(port, transport)
    asyncio.get_running_loop().call_later(0.02, far.shutdown, socket.SHUT_WR)
    with pytest.raises(DeviceUnavailableError, match=r"/dev/ttyUSB0 broke .*the adapter is gone"):
        await transport.exchange(1, READ)
    assert not port.is_open
    with pytest.raises(DeviceUnavailableError):
        await transport.exchange(1, READ)


async def test_a_port_that_takes_no_more_ends_the_line(ends: tuple[socket.socket, Port]) -> None:
    _, port = ends
    listener = Listener()
    transport = SerialTransport(port, listener)
    for _ in range(10_000):
        if not port.is_open:
            break
        transport.write(bytes(256))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [type(error) for error in listener.lost] == [BlockingIOError]
    transport.write(b"after that, nothing")
    transport.abort()
    assert len(listener.lost) == 1
