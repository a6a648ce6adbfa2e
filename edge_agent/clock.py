"""The only module that asks the operating system for the time.

Data time is UTC in nanoseconds since 1970; control time is monotonic seconds. The two never mix. Data time is
reckoned from an anchor, one moment of which both are known, so it runs evenly while the machine's clock is stepped
and until somebody has looked (docs/adr/0010-clock.md).
"""

import asyncio
import ctypes
import os
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

STEP_NS = 1_000_000_000
"""A difference beyond this is a step: reckoned anew at once. A smaller one is made up for slowly."""

_SLEW_NS = 50_000_000
_REMEMBERED_NS = 60_000_000_000
"""A reading that was taken before a step comes into the outbox within this time, or is taken for a later one."""
_UNSYNCED = 0x40
_TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
_RELEASED_NS = 1_760_000_000_000_000_000
"""Whoever cannot ask whether the clock is set believes it when it shows a time after this release (2025-10)."""


def _boot_id() -> str:
    """Return what names this boot; where nobody says, this process."""
    given = os.environ.get("EDGE_AGENT_BOOT_ID", "")
    if given:
        return given.replace("-", "")
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")
    except OSError:
        return uuid.uuid4().hex


_BOOT_ID = _boot_id()  # reads a file, so not on the loop
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A moment of which data time and the boot's monotonic time are both known.

    Attributes:
        boot_id: monotonic times of one boot can be compared.
        is_synced: the data time is right: the machine's clock had been set from outside.
    """

    boot_id: str
    monotonic_ns: int
    wall_ns: int
    is_synced: bool

    @property
    def offset_ns(self) -> int:
        """Data time minus monotonic time."""
        return self.wall_ns - self.monotonic_ns


class Clock(Protocol):
    """What the rest of the agent knows of time."""

    def now_ns(self) -> int:
        """Data time: UTC nanoseconds since 1970-01-01. May step when it is found to be wrong."""
        ...

    def monotonic_s(self) -> float:
        """Control time: seconds since an arbitrary start. Never steps, never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for control time to pass; zero or less yields once. Cancellation leaves nothing behind."""
        ...

    def anchor_of(self, time_ns: int) -> Anchor | None:
        """Return the anchor that a recent data time was reckoned from; None = an anchor that is right."""
        ...

    @property
    def synced(self) -> Anchor | None:
        """The anchor that is known to be right; None while there is none."""
        ...


class System:
    """What the operating system says of time; tests say something else."""

    boot_id = _BOOT_ID

    def wall_ns(self) -> int:
        """UTC; steps when somebody sets it."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Since the machine was started."""
        return time.monotonic_ns()

    def is_synced(self) -> bool:
        """Whether the machine's clock was set from outside (NTP, PTP), as far as anybody can say."""
        # adjtimex(2) with modes = 0 only reads; status follows modes, offset, freq, maxerror and esterror.
        timex = (ctypes.c_long * 32)()
        if hasattr(_LIBC, "adjtimex") and _LIBC.adjtimex(ctypes.byref(timex)) >= 0:
            return not timex[5] & _UNSYNCED
        return _TIMESYNCD_MARK.exists() or self.wall_ns() > _RELEASED_NS


class SystemClock:
    """The clock of the machine.

    Args:
        system: who is asked.
    """

    def __init__(self, system: System | None = None) -> None:
        self._system = system or System()
        self._last_ns = 0
        self._before: deque[tuple[int, Anchor]] = deque(maxlen=8)
        """Anchors that hold no longer, and since when."""
        self._anchor = self._take_anchor(is_synced=self._system.is_synced())

    def now_ns(self) -> int:
        time_ns = self._anchor.offset_ns + self._system.monotonic_ns()
        self._last_ns = max(self._last_ns, time_ns)
        return self._last_ns

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def check(self) -> int:
        """Compare with the machine's clock, and reckon anew after a step; call it every second.

        Returns:
            How far the machine's clock was stepped, ns; 0 = it was not.
        """
        anchor, is_synced = self._anchor, self._anchor.is_synced or self._system.is_synced()
        present = self._take_anchor(is_synced=is_synced)
        difference_ns = present.offset_ns - anchor.offset_ns
        if abs(difference_ns) > STEP_NS:
            self._replace(present)
            self._last_ns = 0
            return difference_ns
        if is_synced and not anchor.is_synced:
            self._replace(present)
        elif is_synced:
            wall_ns = anchor.wall_ns + max(-_SLEW_NS, min(difference_ns, _SLEW_NS))
            self._anchor = Anchor(anchor.boot_id, anchor.monotonic_ns, wall_ns, is_synced=True)
        return 0

    def anchor_of(self, time_ns: int) -> Anchor | None:
        found = self._anchor
        if self._before:
            monotonic_ns = self._system.monotonic_ns()
            recent = [one for until_ns, one in self._before if monotonic_ns - until_ns < _REMEMBERED_NS]
            found = min([found, *recent], key=lambda one: abs(one.offset_ns + monotonic_ns - time_ns))
        return None if found.is_synced else found

    @property
    def synced(self) -> Anchor | None:
        return self._anchor if self._anchor.is_synced else None

    def _take_anchor(self, *, is_synced: bool) -> Anchor:
        system = self._system
        return Anchor(system.boot_id, system.monotonic_ns(), system.wall_ns(), is_synced)

    def _replace(self, anchor: Anchor) -> None:
        self._before.append((anchor.monotonic_ns, self._anchor))
        self._anchor = anchor
