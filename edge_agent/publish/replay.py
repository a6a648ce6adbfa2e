"""How fast a backlog goes out, and how far it is. Pure: the caller lends the control time.

A backlog may have a rate of its own, and it does not begin at once: the gateways of a plant that were cut off
together come back together, and each waits a time of its own, longer the more it has to send.
"""

from collections.abc import Callable

LONGEST_START_PAUSE_S = 10.0
_READINGS_PER_PAUSE_S = 10_000
"""A backlog that is sent in no time need not wait: a second at most for so many readings."""
_BURST_S = 0.25
_SMOOTHING_S = 10.0
"""The rate that is shown follows the true one with this time constant."""


class Pace:
    """Says when the next message of the backlog may go.

    A message larger than what is saved up goes too, and the ones after it wait the longer: the rate holds in the
    long run, whatever the messages are.

    Args:
        rate: readings per second; None = as fast as the window allows.
        start_s: nothing goes before.
    """

    def __init__(self, rate: float | None, start_s: float) -> None:
        self._rate = rate
        self._start_s = start_s
        self._free_s = start_s
        """From then on everything that was sent is paid for."""

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait for the next message; 0 = none."""
        return max(0.0, self._start_s - now_s, self._free_s - _BURST_S - now_s)

    def spend(self, readings: int, now_s: float) -> None:
        """A message of ``readings`` went."""
        if self._rate is not None:
            self._free_s = max(self._free_s, now_s) + readings / self._rate


def start_pause_s(readings: int, random: Callable[[], float]) -> float:
    """Return how long a backlog of ``readings`` waits before it begins."""
    return random() * min(LONGEST_START_PAUSE_S, readings / _READINGS_PER_PAUSE_S)


class Progress:
    """How fast a backlog is acknowledged, and when it will be through."""

    def __init__(self, now_s: float) -> None:
        self.rate = 0.0
        self._since_s = now_s
        self._count = 0

    def add(self, readings: int) -> None:
        """``readings`` of the backlog were acknowledged."""
        self._count += readings

    def tick(self, now_s: float) -> None:
        """Reckon the rate anew; called about every second."""
        passed_s = now_s - self._since_s
        if passed_s <= 0:
            return
        present = self._count / passed_s
        weight = min(1.0, passed_s / _SMOOTHING_S) if self.rate else 1.0
        self.rate += (present - self.rate) * weight
        self._since_s, self._count = now_s, 0

    def eta_s(self, pending: int) -> float | None:
        """Return the seconds until ``pending`` readings are through; None = nobody can say."""
        if pending <= 0:
            return 0.0
        return pending / self.rate if self.rate >= 1e-3 else None  # noqa: PLR2004 - as good as standing still
