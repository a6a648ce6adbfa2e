"""A Modbus TCP server with two units: 1 is the press's PLC, 2 the energy meter. Read-only, always up to date.

The register map is the contract with ``demo.yaml``. Addresses here are the 0-based ones of the protocol;
``demo.yaml`` writes the numbers of the data model, 1-based.
"""

import struct
from collections.abc import Callable, Sequence

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_agent.demo.signals import meter_at, press_at

PRESS_UNIT, METER_UNIT = 1, 2
_FUNCTION_SPACE = {1: "coils", 2: "discrete", 3: "holding", 4: "input"}


def press_registers(t_s: float) -> dict[str, list[int]]:
    """Return the memory of unit 1: coils and discrete inputs 16 to a word, holding registers one each.

    Holding: 0 pressure float32 ABCD; 2 position int16, 0.1 mm; 3 oil temperature int16, 0.1 degC;
    4 stroke count uint32 ABCD. Coils: 0 pump runs. Discrete inputs: 0 door closed, 1 emergency stop released.
    """
    press = press_at(t_s)
    holding = _words(
        ">fhhI", press.pressure, round(press.position * 10), round(press.oil_temperature * 10), press.stroke_count
    )
    return {
        "coils": [int(press.is_pump_running)],
        "discrete": [press.is_door_closed | press.is_emergency_stop_released << 1],
        "holding": holding,
        "input": [0],
    }


def meter_registers(t_s: float) -> dict[str, list[int]]:
    """Return the memory of unit 2, as many meters have it: floats with the low word first.

    Input registers: 0 voltage, 2 current, 4 power, 6 power factor, 8 frequency, all float32 CDAB;
    10 energy float64, high word first; 14 energy in Wh as int64, high word first.
    """
    meter = meter_at(t_s)
    floats = (meter.voltage, meter.current, meter.power, meter.power_factor, meter.frequency)
    swapped = [word for value in floats for word in reversed(_words(">f", value))]
    energy = _words(">dq", meter.energy, round(meter.energy * 1000))
    return {"coils": [0], "discrete": [0], "holding": [0], "input": swapped + energy}


class SimulatedPlc:
    """The server. ``now_s`` tells the time of the simulation."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._server: ModbusTcpServer | None = None

    async def start(self) -> int:
        """Listen on a free loopback port and return it."""
        units = [self._unit(PRESS_UNIT, press_registers), self._unit(METER_UNIT, meter_registers)]
        self._server = ModbusTcpServer(units, address=("127.0.0.1", 0))
        await self._server.serve_forever(background=True)
        return int(self._server.transport.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the socket and every connection; silent if it does not run."""
        if self._server is not None:
            await self._server.shutdown()
            self._server = None

    def _unit(self, number: int, registers_at: Callable[[float], dict[str, list[int]]]) -> SimDevice:
        async def refresh(
            function: int, start: int, address: int, count: int, memory: list[int], written: Sequence[int] | None
        ) -> ExcCodes | None:
            del start, address, count
            if written is not None:
                return ExcCodes.ILLEGAL_FUNCTION
            words = registers_at(self._now_s())[_FUNCTION_SPACE[function]]
            memory[: len(words)] = words
            return None

        blocks = registers_at(0.0)
        bits = [[SimData(0, count=16, values=False, datatype=DataType.BITS)] for _ in ("coils", "discrete")]
        words = [[SimData(0, values=blocks[space], datatype=DataType.REGISTERS)] for space in ("holding", "input")]
        return SimDevice(number, simdata=(*bits, *words), action=refresh)


def _words(form: str, *values: float) -> list[int]:
    packed = struct.pack(form, *values)
    return list(struct.unpack(f">{len(packed) // 2}H", packed))
