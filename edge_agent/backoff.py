"""Pauses between attempts: exponential with full jitter, so that a plant of gateways never comes back at once.

Pure: the caller lends the random source and does the waiting.
"""

from collections.abc import Callable


class Backoff:
    """Gives the pause before the next attempt.

    Args:
        first_s: upper limit of the first pause.
        longest_s: upper limit of any pause.
        random: returns a float in [0, 1).
        floor_s: no pause is shorter.
    """

    def __init__(
        self, first_s: float, longest_s: float, random: Callable[[], float], *, floor_s: float = 0.0
    ) -> None:
        self._first_s = min(first_s, longest_s)
        self._longest_s = longest_s
        self._floor_s = min(floor_s, longest_s)
        self._random = random
        self.attempts = 0

    def next_s(self) -> float:
        """Count one failed attempt and return the pause: uniform between the floor and the doubled limit."""
        limit_s = min(self._longest_s, self._first_s * 2.0 ** min(self.attempts, 60))
        self.attempts += 1
        return self._floor_s + self._random() * max(0.0, limit_s - self._floor_s)

    def reset(self) -> None:
        """An attempt succeeded."""
        self.attempts = 0
