"""What is measured of a device's answers."""

import pytest

from edge_agent_modbus.cost import LineSpeed
from edge_agent_modbus.pdu import Table
from edge_agent_modbus.round_trip import KEY, SAMPLES, RoundTrips, measured


@pytest.mark.parametrize(
    ("answer_s", "kept_us"),
    [
        (0, 10),
        (0.000_04, 50),
        (0.000_9, 1000),
        (0.001, 1000),
        (0.001_1, 2000),
        (0.043, 50_000),
        (99.0, 10_000_000),
    ],
)
def test_the_median_is_kept_in_steps(answer_s: float, kept_us: int) -> None:
    state: dict[str, str] = {}
    speed = LineSpeed.serial(9600)
    trips = RoundTrips(state, speed)
    bytes_s = (speed.exchange_ns(Table.HOLDING, 10) - speed.wait_ns) / 1e9
    for number in range(SAMPLES):
        assert (trips.is_complete, state) == (False, {})
        outlier_s = 5.0 if number % 3 == 0 else 0.0
        trips.add(bytes_s + answer_s - 1e-9 + outlier_s, Table.HOLDING, 10)
    assert (trips.is_complete, state) == (True, {KEY: str(kept_us)})
    assert measured(speed, state) == speed.answering_in(kept_us * 1000)
    state.clear()
    for _ in range(SAMPLES):
        assert not trips.is_complete
        trips.add(bytes_s + answer_s - 1e-9, Table.HOLDING, 10)
    assert state == {KEY: str(kept_us)}, "it is measured anew when it was forgotten"


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5"])
def test_what_was_not_measured_is_as_assumed(text: str) -> None:
    assert measured(LineSpeed(), {KEY: text}) == measured(LineSpeed(), {}) == LineSpeed()
