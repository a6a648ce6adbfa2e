"""What the devices on one unit of a line know of it together: that it is silent. Pure."""

import math

from edge_agent.model import DeviceId

YIELD_S = 1.0
"""Who tried last lets the others try first: what one asks may never be answered while the unit is well."""


class Station:
    """What answers for one device, or for several that are configured for the same unit of the same line.

    A device that is lost makes its station silent for its pause, unless another one was answered meanwhile. Until
    then the others ask nothing and pay no time-out of their own. Then one tries, for all.

    Attributes:
        attempts: failed ones to find it again, in a row.
        missed: exchanges in a row, of any device, that gave nothing.
    """

    def __init__(self) -> None:
        self.attempts = 0
        self.missed = 0
        self._devices: set[DeviceId] = set()
        self._answered_s = -math.inf
        self._silent_until_s = -math.inf
        self._failed: DeviceId | None = None
        self._reason = ""
        self._trying: DeviceId | None = None

    def add(self, device: DeviceId) -> None:
        """Let ``device`` know and be known."""
        self._devices.add(device)

    def remove(self, device: DeviceId) -> None:
        """Forget ``device``; what it found out of the station stays."""
        self._devices.discard(device)
        self.end(device)

    def answered(self, now_s: float) -> None:
        """Say that there was an answer."""
        self._answered_s = now_s
        self._failed = None
        self.attempts = self.missed = 0

    def failed(self, device: DeviceId, reason: str, since_s: float, until_s: float, attempts: int) -> None:
        """Say that ``device`` is lost.

        Args:
            device: which one.
            reason: for people.
            since_s: control time from which on it got no answer.
            until_s: control time at which it tries again.
            attempts: failed ones in a row.
        """
        if self._failed is not None or self._answered_s < since_s:
            self._failed, self._reason, self._silent_until_s = device, reason, until_s
            self.attempts = attempts

    def wait_s(self, device: DeviceId, now_s: float) -> float:
        """Return how long ``device`` leaves the station alone; 0 or less = it may try."""
        if self._failed is None:
            return 0.0
        if self._trying not in {None, device}:
            return YIELD_S
        is_last = self._failed == device and len(self._devices) > 1
        return self._silent_until_s + (YIELD_S if is_last else 0.0) - now_s

    def begin(self, device: DeviceId, now_s: float) -> str:
        """Begin an exchange; return why not, empty = it is to be ended with ``end``."""
        if self._failed is None:
            return ""
        if self.wait_s(device, now_s) > 0:
            return f"{self._reason}, found by {self._failed}"
        self._trying = device
        return ""

    def end(self, device: DeviceId) -> None:
        """End an exchange, answered or not."""
        if self._trying == device:
            self._trying = None
