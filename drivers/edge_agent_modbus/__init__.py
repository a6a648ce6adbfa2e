"""Modbus client, TCP, TLS, RTU, ASCII, UDP: coalesced reads, isolation of refused points, shared lines."""

from edge_agent.driver import API, DriverSpec, SimulatorSpec, Stability
from edge_agent.probing import ProberSpec
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.session import ModbusUnit
from edge_agent_modbus.tls import load_context
from edge_agent_modbus.transport import shared_by
from edge_agent_modbus.writer import ModbusWriter


def _simulator() -> SimulatorSpec:
    from edge_agent_modbus.simulator import SIMULATOR  # noqa: PLC0415 - a running agent never loads it

    return SIMULATOR


def _read_files(config: ModbusDevice) -> None:
    if config.tls is not None:
        load_context(config.tls, checks_name=True)


def _prober() -> ProberSpec:
    from edge_agent_modbus.probe import PROBER  # noqa: PLC0415 - only who commissions needs it

    return PROBER


DRIVER = DriverSpec(
    protocol="modbus",
    api=API,
    config_model=ModbusDevice,
    create=ModbusUnit,
    title="Modbus TCP, TLS, RTU, ASCII, UDP: PLCs, meters, gateways to serial devices",
    stability=Stability.BETA,
    writer=ModbusWriter,
    simulator=_simulator,
    prober=_prober,
    shares=shared_by,
    files=_read_files,
)
