"""How a point moves of which nobody said how: something plausible for its type and unit."""

from pydantic import TypeAdapter

from edge_agent.model import ReadingClass
from edge_agent_modbus.point import ModbusPoint
from edge_agent_modbus.simulator.fit import ends
from edge_agent_modbus.simulator.signals import Signal
from edge_agent_modbus.source import Source, ValueType

_RANGES = {
    "%": (0.0, 100.0), "A": (2.0, 40.0), "Cel": (20.0, 80.0), "degC": (20.0, 80.0), "°C": (20.0, 80.0),
    "Hz": (49.95, 50.05), "K": (290.0, 350.0), "V": (225.0, 235.0), "W": (500.0, 15_000.0), "bar": (1.0, 10.0),
    "kPa": (100.0, 1000.0), "kW": (0.5, 15.0), "l/min": (5.0, 50.0), "mm": (0.0, 250.0), "mm/min": (0.0, 2000.0),
    "r/min": (0.0, 3000.0),
}  # fmt: skip
_RANGE = (0.0, 100.0)
_SIGNAL: TypeAdapter[Signal] = TypeAdapter(Signal)


def plausible(point: ModbusPoint, source: Source) -> Signal:
    """Return a signal for ``point``, within what its type can hold."""
    return _SIGNAL.validate_python(_written(point, source))


def _written(point: ModbusPoint, source: Source) -> dict[str, object]:
    """Return the signal as a person would write it."""
    kind = source.value_type
    written: dict[str, object]
    if source.labels or source.bit_names:
        written = {"shape": "counter", "every": "10s"}
    elif kind is ValueType.BOOL:
        is_alarm = point.reading_class is ReadingClass.ALARM
        written = {"shape": "square", "period": "60s" if is_alarm else "20s", "share": 0.05 if is_alarm else 0.5}
    elif kind.is_time:
        written = {"shape": "clock"}
    elif not kind.is_number:
        written = {"shape": "constant", "value": point.name}
    elif point.reading_class is ReadingClass.COUNTER:
        written = {"shape": "counter"}
    else:
        low, high = _RANGES.get(point.unit, _RANGE) if source.valid is None else source.valid
        if kind.is_integer:
            first, last = sorted(end * source.scale + source.offset for end in ends(source))
            low, high = (max(low, first), min(high, last)) if low < last and high > first else (first, last)
        written = {"shape": "walk", "low": low, "high": high}
    return written
