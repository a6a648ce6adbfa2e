"""Signals and faults of simulated devices: functions of the moment and the seed, and of nothing else."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from edge_agent_modbus.pdu import Table
from edge_agent_modbus.simulator.faults import Fault, Occurrence, parse_area
from edge_agent_modbus.simulator.request import Block
from edge_agent_modbus.simulator.signals import Moment, Signal

SIGNAL: TypeAdapter[Signal] = TypeAdapter(Signal)
FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)
BLOCK = Block(Table.HOLDING, 10, 5)


def course(written: dict[str, Any], ages_s: list[float], seed: str = "0") -> list[Any]:
    value_at = SIGNAL.validate_python(written).course(seed)
    return [value_at(Moment(age_s, 1_790_000_000_500_000_000)) for age_s in ages_s]


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ({"shape": "constant", "value": "A"}, ["A"] * 4),
        ({"shape": "sine", "low": 10, "high": 20, "period": "8s"}, [15, 20, 15, 10]),
        ({"shape": "ramp", "low": 10, "high": 20, "period": "4s"}, [10, 15, 10, 15]),
        ({"shape": "square", "low": 1, "high": 2, "period": "6s", "share": 0.5}, [2, 2, 1, 2]),
        ({"shape": "counter", "start": 7, "step": 2, "every": "3s"}, [7, 7, 9, 11]),
        ({"shape": "clock"}, [1_790_000_000] * 4),
    ],
)
def test_a_signal_follows_its_shape(written: dict[str, Any], values: list[Any]) -> None:
    got = course(written, [0, 2, 4, 6])
    assert [pytest.approx(value) if not isinstance(value, str) else value for value in values] == got


def test_a_walk_stays_within_its_bounds_and_is_the_same_for_the_same_seed() -> None:
    written = {"shape": "walk", "low": 0, "high": 10, "step": 3}
    ages_s = [float(age_s) for age_s in range(500)]
    first = course(written, ages_s, "a")
    assert first == course(written, ages_s, "a") != course(written, ages_s, "b")
    assert all(0 <= value <= 10 for value in first)
    assert len(set(first)) > 100
    assert course(written, [0.0, 499.0], "a")[1] == first[-1], "depends on who asked in between"
    assert course(written, [400.0, 0.0, 499.0], "a")[2] == first[-1], "a reboot does not begin anew"


def hits(written: dict[str, Any], ages_s: list[float], seed: str = "0") -> list[float]:
    occurrence = Occurrence(FAULT.validate_python({"kind": "silence"} | written), seed)
    return [age_s for age_s in ages_s if occurrence.happens(BLOCK, age_s)]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ({}, list(range(12))),
        ({"times": 2}, [0, 1]),
        ({"after": "9s"}, [9, 10, 11]),
        ({"lasts": "2s"}, [0, 1]),
        ({"every": "5s"}, [5, 10]),
        ({"every": "5s", "times": 2}, [5, 6, 10, 11]),
        ({"every": "5s", "lasts": "3s"}, [5, 6, 7, 10, 11]),
        ({"every": "5s", "after": "0s"}, [0, 5, 10]),
    ],
)
def test_a_fault_keeps_its_schedule(written: dict[str, Any], seconds: list[int]) -> None:
    assert hits(written, [float(second) for second in range(12)]) == seconds


def test_chance_is_the_same_for_the_same_seed() -> None:
    ages_s = [float(age_s) for age_s in range(1000)]
    first = hits({"probability": 0.2}, ages_s, "a")
    assert first == hits({"probability": 0.2}, ages_s, "a") != hits({"probability": 0.2}, ages_s, "b")
    assert 150 < len(first) < 250


@pytest.mark.parametrize(
    ("area", "touches"),
    [
        ("holding 14", True),
        ("holding 15..20", False),
        ("holding 0..10", True),
        ("holding", True),
        ("input 12", False),
    ],
)
def test_a_fault_meets_requests_that_touch_its_area(area: str, touches: bool) -> None:
    assert BLOCK.touches(parse_area(area)) is touches
    assert bool(hits({"at": area}, [0.0])) is touches


@pytest.mark.parametrize("area", ["", "register 4", "holding 5..3", "holding 65536", "holding 1-3", "coil -1"])
def test_what_is_no_area_is_refused(area: str) -> None:
    with pytest.raises(ValidationError):
        FAULT.validate_python({"kind": "silence", "at": area})
