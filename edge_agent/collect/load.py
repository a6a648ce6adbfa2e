"""Whether a line can carry what is asked over it. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_agent.model import DeviceId

HEADROOM = 1.05
"""A line that is busy to the last millisecond has no time for a second try."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What one device is asked on each interval.

    Attributes:
        duration_s: of its exchanges, one after the other, on a line that is free.
        faster: the same at higher baud rates, lowest first; empty where the line has none.
    """

    device: DeviceId
    interval_s: float
    requests: int
    duration_s: float
    faster: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LineLoad:
    """All that is asked over one line; devices take turns on it, first come, first served."""

    line: str
    polls: Sequence[Poll]
    baud_rate: int = 0

    @property
    def busy_s(self) -> float:
        """Time that each poll takes once, together."""
        return sum(poll.duration_s for poll in self.polls)

    @property
    def utilisation(self) -> float:
        """Share of the time that the line is busy; above 1 some intervals cannot be met."""
        return _utilisation(self.polls)

    @property
    def cycle_s(self) -> float:
        """Time in which every poll comes round that is always late; 0 if all are in time.

        On an overloaded line those with longer intervals keep theirs, and the others share what is left: they come
        round in ``R = (sum of their durations) / (1 - utilisation by the rest)``. Whose interval is at least ``R``
        belongs to the rest.
        """
        if self.utilisation <= 1:
            return 0.0
        late_s, rest = self.busy_s, 0.0
        for poll in sorted(self.polls, key=lambda poll: -poll.interval_s):
            if poll.interval_s < late_s / (1 - rest):
                break
            late_s -= poll.duration_s
            rest += poll.duration_s / poll.interval_s
        return late_s / (1 - rest)

    @property
    def late(self) -> tuple[Poll, ...]:
        """The polls whose interval cannot be met."""
        return tuple(poll for poll in self.polls if poll.interval_s < self.cycle_s)

    @property
    def enough_s(self) -> float:
        """Interval that the late ones can have, with some headroom and rounded up to two digits; 0 if none is."""
        return _two_digits_up(self.cycle_s * HEADROOM) if self.late else 0.0

    @property
    def enough_baud_rate(self) -> int:
        """Lowest baud rate that meets every interval with some headroom; 0 if there is none, or no need."""
        if self.utilisation <= 1:
            return 0
        for number, (baud_rate, _) in enumerate(self.polls[0].faster):
            shares = (poll.faster[number][1] / poll.interval_s for poll in self.polls)
            if sum(shares) * HEADROOM <= 1:
                return baud_rate
        return 0


def _utilisation(polls: Iterable[Poll]) -> float:
    return sum(poll.duration_s / poll.interval_s for poll in polls)


def _two_digits_up(value: float) -> float:
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.3g}")
