"""Which simulated units share an address, where that is, and all of them at work."""

import asyncio
import ipaddress
from collections.abc import Sequence

from edge_agent.errors import SimulationError
from edge_agent.simulating import Simulation, SimulationEventKind
from edge_agent_modbus.dialer import peer_name
from edge_agent_modbus.simulator.config import SimulatedDevice
from edge_agent_modbus.simulator.tcp import TcpAddress
from edge_agent_modbus.simulator.unit import Unit

_LOOPBACK = "127.0.0.1"


async def serve(devices: Sequence[SimulatedDevice], simulation: Simulation) -> None:
    """Answer for ``devices`` until cancelled.

    Raises:
        SimulationError: before anything was answered: an address cannot be had, or two would be the same.
    """
    groups: dict[tuple[str, int], list[SimulatedDevice]] = {}
    for device in devices:
        groups.setdefault((device.route.hosts[0].lower(), device.route.port), []).append(device)
    places = _places(groups, simulation)
    addresses = []
    for key, group in groups.items():
        units = [Unit(device, simulation) for device in group]
        _check_units(key, units)
        addresses.append((TcpAddress(*places[key], units, simulation), units))
    servers: list[asyncio.Server] = []
    try:
        for address, _ in addresses:
            servers.append(await address.open())
        async with asyncio.TaskGroup() as tasks:
            for (address, units), server in zip(addresses, servers, strict=True):
                place = peer_name(*server.sockets[0].getsockname()[:2])
                tasks.create_task(address.serve(server), name=f"simulated:{place}")
                for unit in units:
                    unit.tell(SimulationEventKind.LISTENING, place)
    finally:
        for server in servers:
            server.close()


def _places(
    keys: Sequence[tuple[str, int]] | dict[tuple[str, int], list[SimulatedDevice]], simulation: Simulation
) -> dict[tuple[str, int], tuple[str, int]]:
    """Return where each configured host and port is simulated."""
    places: dict[tuple[str, int], tuple[str, int]] = {}
    for position, (host, port) in enumerate(keys):
        base = simulation.port_base
        own = host if _is_loopback(host) else _LOOPBACK
        place = simulation.host or own, port if base is None else base + position if base else 0
        for other, taken in places.items():
            if taken == place and place[1]:
                raise SimulationError(
                    f"{peer_name(host, port)} and {peer_name(*other)} would both be at {peer_name(*place)}; "
                    "add --port-base 5020, which gives each a port of its own"
                )
        places[host, port] = place
    return places


def _check_units(key: tuple[str, int], units: Sequence[Unit]) -> None:
    seen: dict[int, Unit] = {}
    for unit in units:
        if unit.number in seen:
            raise SimulationError(
                f"{seen[unit.number].id} and {unit.id} are both unit {unit.number} at {peer_name(*key)}"
            )
        seen[unit.number] = unit


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
