"""What the simulated machines do, as pure functions of time: a milling machine, its energy meter, a press.

Time is in seconds since the simulation began. The same time and seed give the same values, and the signals hang
together: the meter measures the power that the spindle takes, the part counter steps when the program ends,
the door is open while the program is idle, the feed stops in a hold and the axes with it.
"""

import math
from dataclasses import dataclass
from enum import Enum
from functools import cache
from hashlib import blake2b
from itertools import accumulate

CYCLE_S = 12.0
"""One part: load it, rough it, finish it, unload it."""
HOLD_EVERY_CYCLES = 3
"""Each third cycle is interrupted by a feed hold with an alarm."""
PERIOD_S = CYCLE_S * HOLD_EVERY_CYCLES
STROKE_S = 4.0
SENSOR_FAULT_EVERY_S = 60.0
_SENSOR_FAULT = (44.0, 48.0)

_SPIN_UP, _FINISH, _SPIN_DOWN, _UNLOAD = 1.5, 6.5, 9.5, 10.5
_HOLD = (3.5, 5.0)
_ROUGH_RPM, _FINISH_RPM = 4200.0, 9000.0
_ROUGH_FEED, _FINISH_FEED = 1450.0, 900.0
_RAMP_S = 0.8
_STEP_S = 0.05
_PROGRAMS = ("O1207 FLANGE-A", "O1208 FLANGE-B")
_PARTS_PER_PROGRAM = 4
_DOOR_SHUTS_AT = 0.05
"""Part of its way down at which the press's door is shut."""


class ProgramState(Enum):
    """What the program of the milling machine is doing; the value is what its controller reports."""

    IDLE = "IDLE"
    RUNNING = "RUNNING"
    HOLD = "HOLD"


@dataclass(frozen=True, slots=True)
class Mill:
    """A milling machine at one moment. Speeds in r/min and mm/min, load and override in %, positions in mm."""

    program_state: ProgramState
    program_name: str
    spindle_speed: float
    spindle_load: float
    feed_rate: float
    feed_override: int
    part_count: int
    x: float
    y: float
    z: float
    tool: int
    alarm_code: int
    alarm_text: str
    coolant_temperature: float
    is_coolant_sensor_broken: bool
    is_door_open: bool


@dataclass(frozen=True, slots=True)
class Meter:
    """The energy meter in front of the milling machine: V, A, kW, Hz, kWh."""

    voltage: float
    current: float
    power: float
    power_factor: float
    frequency: float
    energy: float


@dataclass(frozen=True, slots=True)
class Press:
    """A hydraulic press: bar, mm, degC, and strokes since it was built."""

    pressure: float
    position: float
    oil_temperature: float
    stroke_count: int
    is_door_closed: bool
    is_emergency_stop_released: bool
    is_pump_running: bool


def mill_at(t_s: float, seed: int = 0) -> Mill:
    """Return the milling machine at ``t_s``."""
    cycle, phase_s = divmod(t_s, CYCLE_S)
    is_held = _is_held(cycle, phase_s)
    state = (
        ProgramState.HOLD
        if is_held
        else ProgramState.RUNNING
        if _SPIN_UP <= phase_s < _UNLOAD
        else ProgramState.IDLE
    )
    override = 80 if int(cycle) % 2 else 100
    speed, load, feed = _spindle_speed(phase_s), _spindle_load(cycle, phase_s), _feed_rate(cycle, phase_s)
    path_s = _path_s(cycle, phase_s)
    fault_s = t_s % SENSOR_FAULT_EVERY_S
    return Mill(
        program_state=state,
        program_name=_PROGRAMS[int(cycle) // _PARTS_PER_PROGRAM % len(_PROGRAMS)],
        spindle_speed=max(0.0, speed + (_noise("speed", t_s, seed) * 12 if speed else 0.0)),
        spindle_load=max(0.0, load + (_noise("load", t_s, seed) * 2.5 if load else 0.0)),
        feed_rate=max(0.0, feed * override / 100 + (_noise("feed", t_s, seed) * 4 if feed else 0.0)),
        feed_override=override,
        part_count=1284 + int(cycle) + (phase_s >= _UNLOAD),
        x=120.0 * math.sin(path_s * 1.9),
        y=80.0 * math.sin(path_s * 2.7 + 0.6),
        z=_z(phase_s),
        tool=12 if phase_s < _FINISH else 7,
        alarm_code=1021 if is_held else 0,
        alarm_text="CHIP CONVEYOR OVERLOAD" if is_held else "",
        coolant_temperature=24.0 + 1.8 * math.sin(t_s / 47) + 0.05 * _noise("coolant", t_s, seed),
        is_coolant_sensor_broken=_SENSOR_FAULT[0] <= fault_s < _SENSOR_FAULT[1],
        is_door_open=not _SPIN_UP - 0.5 <= phase_s < _UNLOAD + 0.5,
    )


def meter_at(t_s: float, seed: int = 0) -> Meter:
    """Return the energy meter at ``t_s``; its counter is the integral of the power before noise."""
    power = _power(*divmod(t_s, CYCLE_S)) * (1 + 0.004 * _noise("power", t_s, seed))
    voltage = 400.0 + 1.5 * math.sin(t_s / 23) - 0.12 * power + 0.2 * _noise("voltage", t_s, seed)
    power_factor = 0.78 + 0.14 * min(1.0, power / 12)
    return Meter(
        voltage=voltage,
        current=power * 1000 / (math.sqrt(3) * voltage * power_factor),
        power=power,
        power_factor=power_factor,
        frequency=50.0 + 0.01 * math.sin(t_s / 11) + 0.003 * _noise("frequency", t_s, seed),
        energy=48213.6 + _energy_kws(t_s) / 3600,
    )


def press_at(t_s: float, seed: int = 0) -> Press:
    """Return the press at ``t_s``."""
    strokes, phase_s = divmod(t_s, STROKE_S)
    down = 0.5 - 0.5 * math.cos(2 * math.pi * phase_s / STROKE_S)
    forming = max(0.0, down - 0.85) / 0.15
    return Press(
        pressure=35.0 + 20 * down + 130 * forming + 0.6 * _noise("pressure", t_s, seed),
        position=250.0 * (1 - down),
        oil_temperature=46.0 + 3.5 * math.sin(t_s / 90) + 0.04 * _noise("oil", t_s, seed),
        stroke_count=700_412 + int(strokes) + (phase_s >= STROKE_S / 2),
        is_door_closed=down > _DOOR_SHUTS_AT,
        is_emergency_stop_released=True,
        is_pump_running=True,
    )


def _is_held(cycle: float, phase_s: float) -> bool:
    return int(cycle) % HOLD_EVERY_CYCLES == 0 and _HOLD[0] <= phase_s < _HOLD[1]


def _spindle_speed(phase_s: float) -> float:
    """Follow the program through linear ramps; a feed hold leaves the spindle turning."""
    if phase_s < _SPIN_UP or phase_s >= _UNLOAD:
        return 0.0
    if phase_s < _FINISH:
        return _ROUGH_RPM * min(1.0, (phase_s - _SPIN_UP) / _RAMP_S)
    if phase_s < _SPIN_DOWN:
        return _ROUGH_RPM + (_FINISH_RPM - _ROUGH_RPM) * min(1.0, (phase_s - _FINISH) / _RAMP_S)
    return _FINISH_RPM * max(0.0, 1 - (phase_s - _SPIN_DOWN) / _RAMP_S)


def _is_cutting(cycle: float, phase_s: float) -> bool:
    return _SPIN_UP + _RAMP_S <= phase_s < _SPIN_DOWN and not _is_held(cycle, phase_s)


def _spindle_load(cycle: float, phase_s: float) -> float:
    if _is_cutting(cycle, phase_s):
        return 58.0 + 6 * math.sin(phase_s * 5) if phase_s < _FINISH else 24.0 + 3 * math.sin(phase_s * 7)
    return 6.0 if _spindle_speed(phase_s) > 0 else 0.0


def _feed_rate(cycle: float, phase_s: float) -> float:
    if not _is_cutting(cycle, phase_s):
        return 0.0
    return _ROUGH_FEED if phase_s < _FINISH else _FINISH_FEED


def _path_s(cycle: float, phase_s: float) -> float:
    """Time spent on the tool path: stands still while nothing is cut."""
    start_s = _SPIN_UP + _RAMP_S
    path_s = min(max(0.0, phase_s - start_s), _SPIN_DOWN - start_s)
    if int(cycle) % HOLD_EVERY_CYCLES == 0:
        path_s -= min(max(0.0, phase_s - _HOLD[0]), _HOLD[1] - _HOLD[0])
    return path_s


def _z(phase_s: float) -> float:
    """Retracted at 150 mm, down to the part within the spin-up, up again within the spin-down."""
    down = min(max(0.0, (phase_s - _SPIN_UP) / _RAMP_S), 1.0) - min(
        max(0.0, (phase_s - _SPIN_DOWN) / _RAMP_S), 1.0
    )
    return 150.0 - 172.5 * down


def _power(cycle: float, phase_s: float) -> float:
    """Power before noise, kW: the control and pumps, friction of the spindle, the cut."""
    return 1.15 + 0.09e-3 * _spindle_speed(phase_s) + 0.15 * _spindle_load(cycle, phase_s)


def _energy_kws(t_s: float) -> float:
    """Integral of the power from 0 to ``t_s``: whole periods, then a table with linear interpolation."""
    table = _energy_table()
    periods, rest_s = divmod(t_s, PERIOD_S)
    step, fraction = divmod(rest_s / _STEP_S, 1.0)
    low, high = table[int(step)], table[min(int(step) + 1, len(table) - 1)]
    return periods * table[-1] + low + (high - low) * fraction


@cache
def _energy_table() -> tuple[float, ...]:
    steps = round(PERIOD_S / _STEP_S)
    powers = (_power(*divmod((step + 0.5) * _STEP_S, CYCLE_S)) for step in range(steps))
    return tuple(accumulate((power * _STEP_S for power in powers), initial=0.0))


def _noise(name: str, t_s: float, seed: int) -> float:
    """Noise in -1 … 1 that changes every 50 ms; no generator, so that a moment can be asked for twice."""
    digest = blake2b(f"{seed}/{name}/{int(t_s / _STEP_S)}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 0x7FFF_FFFF - 1.0
