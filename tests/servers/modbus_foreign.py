"""Modbus ASCII and UDP by pymodbus's server, the independent one that has them."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusUdpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.servers.modbus_bus import bus
from tests.servers.ports import free_port


def _devices(units: Sequence[int]) -> list[SimDevice]:
    """Return units whose registers hold their address plus 1000 per unit."""
    return [
        SimDevice(
            unit,
            simdata=[SimData(0, values=[1000 * unit + a for a in range(200)], datatype=DataType.REGISTERS)],
        )
        for unit in units
    ]


@asynccontextmanager
async def _served(server: Any) -> AsyncIterator[None]:
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


@asynccontextmanager
async def udp_server(units: Sequence[int] = (1,), host: str = "127.0.0.1") -> AsyncIterator[dict[str, Any]]:
    """Serve on a free port; yield the keys of a device there."""
    port = free_port(host, socket.SOCK_DGRAM)
    async with _served(ModbusUdpServer(_devices(units), address=(host, port))):
        yield {"host": host, "port": port, "transport": "udp"}


@asynccontextmanager
async def ascii_gateway(units: Sequence[int] = (1,), host: str = "127.0.0.1") -> AsyncIterator[dict[str, Any]]:
    """Serve frames of characters on a free port; yield the keys of a device there."""
    port = free_port(host)
    async with _served(ModbusTcpServer(_devices(units), framer=FramerType.ASCII, address=(host, port))):
        yield {"host": host, "port": port, "transport": "ascii_over_tcp"}


@asynccontextmanager
async def ascii_line(units: Sequence[int] = (1,)) -> AsyncIterator[dict[str, Any]]:
    """Serve at the other end of a pseudo-terminal; yield the keys of a device there."""
    with bus() as line:
        server = ModbusSerialServer(_devices(units), framer=FramerType.ASCII, port=line.stations[1])
        async with _served(server):
            serial = {"port": line.client, "parity": "none", "data_bits": 8}  # a pseudo-terminal has no other
            yield {"serial": serial, "transport": "ascii"}
