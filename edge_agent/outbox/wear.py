"""What the outbox writes to the disk, as the kernel counts it for one thread: flash wears by it."""

from pathlib import Path

_COUNTS = Path("/proc/thread-self/io")
_DAY_S = 86_400.0


class Wear:
    """Bytes that the calling thread has caused to be written to storage, pages of the cache at a time.

    A file system in memory writes none. What the file system writes besides (its journal) is not seen.
    """

    def __init__(self) -> None:
        self._before_bytes = self._now_bytes()

    def take(self) -> int:
        """Return the bytes written since the last call."""
        now_bytes = self._now_bytes()
        taken, self._before_bytes = max(0, now_bytes - self._before_bytes), now_bytes
        return taken

    @staticmethod
    def _now_bytes() -> int:
        try:
            fields = _COUNTS.read_text("ascii").split()
            return int(fields[fields.index("write_bytes:") + 1])
        except (OSError, ValueError):  # a kernel without the counts
            return 0


class Budget:
    """Adds up what is written in a day of control time; on the loop."""

    def __init__(self, budget_bytes: int | None, now_s: float) -> None:
        self.written_bytes = 0
        self.is_passed = False
        self._budget_bytes = budget_bytes
        self._day_began_s = now_s

    def add(self, written_bytes: int, now_s: float) -> bool:
        """Count; return whether this has just passed the budget of the day."""
        if now_s - self._day_began_s >= _DAY_S:
            self._day_began_s, self.written_bytes, self.is_passed = now_s, 0, False
        self.written_bytes += written_bytes
        was_passed, self.is_passed = (
            self.is_passed,
            self._budget_bytes is not None and self.written_bytes > self._budget_bytes,
        )
        return self.is_passed and not was_passed
