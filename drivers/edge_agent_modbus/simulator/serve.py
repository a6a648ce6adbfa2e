"""Which simulated units share a line or an address, where that is, and all of them at work."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from edge_agent.errors import SimulationError
from edge_agent.loopback import is_loopback
from edge_agent.simulating import Simulation, SimulationEventKind
from edge_agent_modbus.dialer import peer_name
from edge_agent_modbus.simulator.config import SimulatedDevice
from edge_agent_modbus.simulator.framing import FRAMINGS, Framing
from edge_agent_modbus.simulator.serial import SerialLine
from edge_agent_modbus.simulator.tcp import TcpAddress
from edge_agent_modbus.simulator.unit import Unit

_LOOPBACK = "127.0.0.1"


async def serve(devices: Sequence[SimulatedDevice], simulation: Simulation) -> None:
    """Answer for ``devices`` until cancelled.

    Raises:
        SimulationError: before anything was answered: an address cannot be had, or two would be the same.
    """
    with ExitStack() as stack:
        lines = _lines(devices, simulation)
        served = []
        for line, units in lines:
            stack.callback(line.close)
            served.append((line.serve, await asyncio.to_thread(line.open), units))
        for address, units in _addresses(devices, simulation):
            server = await address.open()
            stack.callback(server.close)
            place = peer_name(*server.sockets[0].getsockname()[:2])
            served.append((partial(address.serve, server), place, units))
        async with asyncio.TaskGroup() as tasks:
            for serve_units, place, units in served:
                tasks.create_task(serve_units(partial(_tell, units, place)), name=f"simulated:{place}")


def _tell(units: Sequence[Unit], place: str) -> None:
    for unit in units:
        unit.tell(SimulationEventKind.LISTENING, place)


def _lines(devices: Sequence[SimulatedDevice], simulation: Simulation) -> list[tuple[SerialLine, Sequence[Unit]]]:
    groups: dict[str, list[SimulatedDevice]] = {}
    for device in devices:
        if device.serial is not None:
            groups.setdefault(device.serial.port, []).append(device)
    lines: list[tuple[SerialLine, Sequence[Unit]]] = []
    for port, group in groups.items():
        framing, units = _units(port, group, simulation)
        if (settings := group[0].serial) is not None:
            lines.append((SerialLine(settings, framing, units, simulation), units))
    return lines


def _addresses(
    devices: Sequence[SimulatedDevice], simulation: Simulation
) -> list[tuple[TcpAddress, Sequence[Unit]]]:
    groups: dict[tuple[str, int], list[SimulatedDevice]] = {}
    for device in devices:
        if device.serial is None:
            groups.setdefault((device.route.hosts[0].lower(), device.route.port), []).append(device)
    places = _places(groups, simulation)
    addresses: list[tuple[TcpAddress, Sequence[Unit]]] = []
    for key, group in groups.items():
        framing, units = _units(peer_name(*key), group, simulation)
        addresses.append((TcpAddress(*places[key], framing, units, simulation), units))
    return addresses


def _units(
    place: str, group: Sequence[SimulatedDevice], simulation: Simulation
) -> tuple[Callable[[], Framing], list[Unit]]:
    """Return the framing of a line or address and the units there, if they get on with each other."""
    first = group[0]
    for device in group:
        if device.frames != first.frames:
            raise SimulationError(
                f"{first.id} and {device.id} are both at {place}, with {first.frames} and {device.frames} frames"
            )
    units = [Unit(device, simulation) for device in group]
    _check_units(place, units)
    return FRAMINGS[first.frames], units


def _places(
    keys: Sequence[tuple[str, int]] | dict[tuple[str, int], list[SimulatedDevice]], simulation: Simulation
) -> dict[tuple[str, int], tuple[str, int]]:
    """Return where each configured host and port is simulated."""
    places: dict[tuple[str, int], tuple[str, int]] = {}
    for position, (host, port) in enumerate(keys):
        base = simulation.port_base
        own = host if is_loopback(host) else _LOOPBACK
        place = simulation.host or own, port if base is None else base + position if base else 0
        for other, taken in places.items():
            if taken == place and place[1]:
                raise SimulationError(
                    f"{peer_name(host, port)} and {peer_name(*other)} would both be at {peer_name(*place)}; "
                    "add --port-base 5020, which gives each a port of its own"
                )
        places[host, port] = place
    return places


def _check_units(place: str, units: Sequence[Unit]) -> None:
    seen: dict[int, Unit] = {}
    for unit in units:
        if unit.number in seen:
            raise SimulationError(f"{seen[unit.number].id} and {unit.id} are both unit {unit.number} at {place}")
        seen[unit.number] = unit
