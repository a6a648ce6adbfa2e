"""How long a device takes to answer, as it is measured and kept. Pure."""

from collections.abc import Mapping, MutableMapping
from statistics import median

from edge_agent_modbus.cost import LineSpeed
from edge_agent_modbus.pdu import Table

KEY = "answer_time_us"
SAMPLES = 25
_LEAST_NS = 10_000
_MOST_NS = 10_000_000_000


class RoundTrips:
    """The first exchanges of a session; their median is kept, in steps of 1, 2 and 5: plans are not to waver."""

    def __init__(self, state: MutableMapping[str, str], speed: LineSpeed) -> None:
        self._state = state
        self._speed = speed
        self._answers_ns: list[float] = []
        self._is_complete = False

    @property
    def is_complete(self) -> bool:
        """Whether it was measured in this session, and not forgotten since."""
        return self._is_complete and KEY in self._state

    def add(self, duration_s: float, table: Table, count: int) -> None:
        """Take the time of an exchange that was answered with data."""
        bytes_ns = self._speed.exchange_ns(table, count) - self._speed.wait_ns  # silences are not in the duration
        self._answers_ns.append(duration_s * 1e9 - bytes_ns)
        if len(self._answers_ns) == SAMPLES:
            self._state[KEY] = str(_step_ns(median(self._answers_ns)) // 1000)
            self._answers_ns.clear()
            self._is_complete = True


def measured(speed: LineSpeed, state: Mapping[str, str]) -> LineSpeed:
    """Return ``speed`` with the time that was measured, if one was."""
    text = state.get(KEY, "")
    return speed.answering_in(int(text) * 1000) if text.isdecimal() else speed


def _step_ns(value_ns: float) -> int:
    step_ns = _LEAST_NS
    factors = (2, 2.5, 2)  # 1, 2, 5, 10
    for number in range(100):
        if step_ns >= value_ns or step_ns >= _MOST_NS:
            break
        step_ns = int(step_ns * factors[number % 3])
    return step_ns
