"""The simulated machines: the same moment twice is the same, and the signals hang together."""

import itertools
import math
from collections.abc import Callable

import pytest

from edge_agent.demo.signals import CYCLE_S, PERIOD_S, STROKE_S, ProgramState, meter_at, mill_at, press_at

MOMENTS = [step / 10 for step in range(round(PERIOD_S * 10))]


@pytest.mark.parametrize("machine_at", [mill_at, meter_at, press_at])
def test_one_moment_and_seed_always_give_the_same_values(machine_at: Callable[..., object]) -> None:
    assert machine_at(17.3) == machine_at(17.3)
    assert machine_at(17.3, seed=1) != machine_at(17.3, seed=2)


def test_the_mill_goes_through_idle_running_and_hold_in_every_period() -> None:
    assert {mill_at(t).program_state for t in MOMENTS} == set(ProgramState)


def test_the_part_counter_steps_once_for_each_cycle_and_never_back() -> None:
    counts = [mill_at(t).part_count for t in MOMENTS]
    assert all(0 <= b - a <= 1 for a, b in itertools.pairwise(counts))
    assert counts[-1] - counts[0] == PERIOD_S / CYCLE_S


def test_spindle_and_feed_stand_still_while_the_program_is_idle() -> None:
    idle = [mill for t in MOMENTS if (mill := mill_at(t)).program_state is ProgramState.IDLE]
    assert {(mill.spindle_speed, mill.feed_rate, mill.spindle_load) for mill in idle} == {(0, 0, 0)}


def test_the_door_is_shut_whenever_the_program_runs() -> None:
    assert not any(m.is_door_open for t in MOMENTS if (m := mill_at(t)).program_state is ProgramState.RUNNING)


def test_a_hold_has_an_alarm_stops_the_feed_and_leaves_the_spindle_turning() -> None:
    held = [mill for t in MOMENTS if (mill := mill_at(t)).program_state is ProgramState.HOLD]
    assert held
    for mill in held:
        assert (mill.alarm_code, mill.alarm_text, mill.feed_rate) == (1021, "CHIP CONVEYOR OVERLOAD", 0)
        assert mill.spindle_speed > 3000
    assert len({(mill.x, mill.y) for mill in held}) == 1


def test_nothing_jumps_faster_than_a_machine_can() -> None:
    for before, after in itertools.pairwise(mill_at(step / 100) for step in range(round(CYCLE_S * 100))):
        assert abs(after.x - before.x) < 3
        assert abs(after.z - before.z) < 3
        assert abs(after.spindle_speed - before.spindle_speed) < 150


def test_the_meter_measures_what_the_spindle_takes() -> None:
    idle, roughing = meter_at(0.5), meter_at(5.5)
    assert idle.power < 2
    assert roughing.power > 8
    assert roughing.voltage < idle.voltage
    for meter in (idle, roughing):
        apparent = math.sqrt(3) * meter.voltage * meter.current / 1000
        assert meter.power == pytest.approx(apparent * meter.power_factor)


def test_the_energy_counter_is_the_integral_of_the_power() -> None:
    step_s = 0.02
    measured = sum(meter_at((step + 0.5) * step_s).power for step in range(round(40 / step_s))) * step_s / 3600
    assert meter_at(40).energy - meter_at(0).energy == pytest.approx(measured, rel=0.01)


def test_the_energy_counter_never_goes_back_not_even_between_periods() -> None:
    counts = [meter_at(PERIOD_S - 1 + step / 100).energy for step in range(200)]
    assert all(b > a for a, b in itertools.pairwise(counts))


def test_the_press_has_its_highest_pressure_at_the_bottom_and_counts_there() -> None:
    top, bottom = press_at(0.0), press_at(STROKE_S / 2)
    assert bottom.pressure > top.pressure + 100
    assert top.position == pytest.approx(250)
    assert bottom.position == pytest.approx(0)
    assert bottom.stroke_count == top.stroke_count + 1
    assert (top.is_door_closed, bottom.is_door_closed) == (False, True)
