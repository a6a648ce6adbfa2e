"""How simulated values move: each shape, compiled, is a function of the moment. The same seed, the same values."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge_agent.driver import Duration, StrictModel
from edge_agent_modbus.encode import Value


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds since the device was switched on, and UTC nanoseconds."""

    age_s: float
    utc_ns: int


Course = Callable[[Moment], Value]
"""Gives the value at a moment; moments never go back."""

Low = Annotated[float, Field(allow_inf_nan=False, description="Lowest value.")]
High = Annotated[float, Field(allow_inf_nan=False, description="Highest value.")]
Period = Annotated[Duration, Field(gt=0, description="Time until it begins again.")]


class Constant(StrictModel):
    """The same value for ever."""

    shape: Literal["constant"]
    value: bool | int | float | str = Field(description="The value, as a reading has it.")

    def course(self, _seed: str) -> Course:
        """Return the function of time."""
        value = self.value
        return lambda _: value


class _Between(StrictModel):
    low: Low = 0.0
    high: High = 1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low: {self.low:g} is above high: {self.high:g}")
        return self


class _Periodic(_Between):
    period: Period = 60.0

    def _phase(self, moment: Moment) -> float:
        return moment.age_s % self.period / self.period


class Sine(_Periodic):
    """Up and down, beginning in the middle."""

    shape: Literal["sine"]

    def course(self, _seed: str) -> Course:
        """Return the function of time."""
        middle, swing = (self.high + self.low) / 2, (self.high - self.low) / 2
        return lambda moment: middle + swing * math.sin(2 * math.pi * self._phase(moment))


class Ramp(_Periodic):
    """Straight up from low to high, then from low again."""

    shape: Literal["ramp"]

    def course(self, _seed: str) -> Course:
        """Return the function of time."""
        return lambda moment: self.low + (self.high - self.low) * self._phase(moment)


class Square(_Periodic):
    """High, then low; for a bit: true, then false."""

    shape: Literal["square"]
    share: float = Field(default=0.5, gt=0, lt=1, description="Part of the period that it is high.")

    def course(self, _seed: str) -> Course:
        """Return the function of time."""
        return lambda moment: self.high if self._phase(moment) < self.share else self.low


class Walk(_Between):
    """A random walk that turns back at low and high."""

    shape: Literal["walk"]
    start: float | None = Field(default=None, allow_inf_nan=False, description="First value; default: the middle.")
    step: float | None = Field(
        default=None, gt=0, description="Longest step, up or down; default: a fiftieth of the range."
    )
    every: Duration = Field(default=1.0, ge=0.01, description="Time between two steps.")

    def course(self, seed: str) -> Course:
        """Return the function of time."""
        middle = (self.low + self.high) / 2 if self.start is None else self.start
        step = (self.high - self.low) / 50 if self.step is None else self.step
        return _WalkCourse(self, middle, step, seed)


class _WalkCourse:
    def __init__(self, walk: Walk, start: float, step: float, seed: str) -> None:
        self._walk, self._start, self._step, self._seed = walk, start, step, seed
        self._random = random.Random(seed)  # noqa: S311 - no secret, and the same each time
        self._value, self._taken = start, 0

    def __call__(self, moment: Moment) -> float:
        wanted = int(moment.age_s / self._walk.every)
        if wanted < self._taken:  # the device was switched off and on
            self._restart()
        for _ in range(wanted - self._taken):
            self._value += self._random.uniform(-self._step, self._step)
            self._value = min(max(self._value, self._walk.low), self._walk.high)
        self._taken = wanted
        return self._value

    def _restart(self) -> None:
        self._random = random.Random(self._seed)  # noqa: S311 - no secret, and the same each time
        self._value, self._taken = self._start, 0


class Counter(StrictModel):
    """Counts up; a type that is full begins again at its lowest value."""

    shape: Literal["counter"]
    start: int = Field(default=0, description="First value.")
    step: int = Field(default=1, ge=1, description="What is added each time.")
    every: Duration = Field(default=1.0, ge=0.01, description="Time between two steps.")

    def course(self, _seed: str) -> Course:
        """Return the function of time."""
        return lambda moment: self.start + self.step * int(moment.age_s / self.every)


class Clock(StrictModel):
    """The time of day, UTC: for a date or time the moment, for a number seconds since 1970."""

    shape: Literal["clock"]

    def course(self, _seed: str) -> Course:
        """Return the function of time."""
        return lambda moment: moment.utc_ns // 1_000_000_000


Signal = Annotated[Constant | Sine | Ramp | Square | Walk | Counter | Clock, Field(discriminator="shape")]
