"""A configured Modbus device without an agent, and what it reads."""

from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock
from edge_agent.collect.line import Lines
from edge_agent.driver import Session
from edge_agent.model import ReadingBatch
from edge_agent.testing.conformance import check_batch
from edge_agent.testing.fakes import FakeContext
from edge_agent_modbus import DRIVER
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.dialer import Dialer, Route
from edge_agent_modbus.session import ModbusSession, ModbusUnit
from edge_agent_modbus.tcp import TcpTransport
from edge_agent_modbus.transport import Transport


def unit(
    port: int,
    points: list[dict[str, Any]],
    lines: Lines | None = None,
    *,
    clock: Clock | None = None,
    **keys: Any,
) -> ModbusUnit:
    """Return a device on TCP."""
    return unit_on({"host": "127.0.0.1", "port": port}, points, lines, clock=clock, **keys)


def unit_on(
    wire: Mapping[str, Any],
    points: list[dict[str, Any]],
    lines: Lines | None = None,
    *,
    clock: Clock | None = None,
    **keys: Any,
) -> ModbusUnit:
    """Return a device on any wire, given as keys of its configuration."""
    device = DRIVER.create(FakeContext(clock=clock, lines=lines), config_of(wire, points, **keys))
    assert isinstance(device, ModbusUnit)
    return device


def config_of(wire: Mapping[str, Any], points: list[dict[str, Any]], **keys: Any) -> ModbusDevice:
    """Return the configuration of a device with points of any name."""
    named = [{"name": f"p{index}", **point} for index, point in enumerate(points)]
    return ModbusDevice.model_validate({"id": "d", "driver": "modbus", **wire, "points": named, **keys})


def words(*addresses: int) -> list[dict[str, Any]]:
    return [{"holding": address, "type": "uint16"} for address in addresses]


def values(*batches: ReadingBatch) -> dict[int, Any]:
    """Return what each point got: a value, or the status if it is Bad."""
    got: dict[int, Any] = {}
    for batch in batches:
        check_batch(batch)
        for column in batch.columns:
            for position, index in enumerate(column.points):
                assert index not in got, f"two readings of point {index}"
                status = column.statuses[position] if column.statuses else 0
                got[index] = status or (column.values[position] if column.values is not None else None)
    return got


async def read_all(device: ModbusUnit, session: Session) -> dict[int, Any]:
    return values(*[await session.read(request) for request in device.plan(device.polled, frozenset())])


async def read_once(device: ModbusUnit) -> dict[int, Any]:
    session = await device.connect()
    try:
        return await read_all(device, session)
    finally:
        await session.close()


async def open_tcp(host: str, port: int) -> TcpTransport:
    return await Dialer(Route((host,), port)).connect(TcpTransport)


def transport_of(session: Session) -> Transport:
    assert isinstance(session, ModbusSession)
    return session._transport
