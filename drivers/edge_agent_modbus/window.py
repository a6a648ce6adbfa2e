"""How many requests may be under way at once on one connection, and whether the device takes it. Pure.

Few devices promise to take a request before they have answered the last one. One that breaks the connection then,
mixes its answers up or says nothing, is asked one at a time, for good: that is kept.
"""

from collections.abc import MutableMapping

KEY = "max_in_flight"
STRIKES = 2
"""Incidents that could have another cause; so many are proof, with fewer than ``CLEAN`` good answers between."""
CLEAN = 100


class Window:
    """What one line may have under way; outlives its connections.

    An exchange has *company* if another one was under way at any time of it.

    Args:
        most: as configured.
        state: where it is kept that the device does not take it.
    """

    def __init__(self, most: int, state: MutableMapping[str, str]) -> None:
        self._most = most
        self._state = state
        self._strikes = 0
        self._clean = 0
        self._suspects: set[int] = set()
        self._dead: set[int] = set()

    @property
    def places(self) -> int:
        """How many requests may be under way now."""
        return 1 if self.given_up or self._suspects else self._most

    @property
    def given_up(self) -> str:
        """Why it is one at a time for good; empty if it is not."""
        return self._state.get(KEY, "") if self._most > 1 else ""

    def answered(self, unit: int, *, has_company: bool) -> None:
        """Note an answer."""
        self._dead.discard(unit)
        if has_company:
            self._clean += 1
            if self._clean == CLEAN:
                self._strikes = 0
        elif unit in self._suspects:  # it is there, so it was the company that it did not take
            self._suspects.discard(unit)
            self.struck(f"unit {unit} was silent")

    def silent(self, unit: int, *, has_company: bool) -> None:
        """Note an exchange that was given up: the unit is asked alone before anything is made of it."""
        if not has_company:
            self._suspects.discard(unit)
            self._dead.add(unit)
        elif unit not in self._dead:
            self._suspects.add(unit)

    def pardon(self, unit: int) -> None:
        """Forget that an exchange was given up."""
        self._suspects.discard(unit)

    def struck(self, what: str, *, is_proof: bool = False) -> None:
        """Note that the device did something that it might not have done with one request at a time."""
        self._strikes += 1
        self._clean = 0
        if is_proof or self._strikes == STRIKES:
            self._strikes = 0  # so that the same holds once it was forgotten on request
            self._state[KEY] = f"1, because with more {what}"
