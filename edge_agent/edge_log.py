"""Log on the edge: the first failure, the recovery, and once an hour a count of what went on in between.

Pure: the caller lends the control time.
"""

import logging
from collections.abc import Callable

REMIND_EVERY_S = 3600.0
LINES_PER_PERIOD = 20


class EdgeLog:
    """The log of one thing that can fail again and again: a device, a broker, a disk.

    Something that fails and recovers all the time writes ``LINES_PER_PERIOD`` lines in ``remind_every_s``, then
    goes silent until the period ends; the next line tells how many were left out (``suppressed``).

    Args:
        monotonic_s: control time.
        remind_every_s: while the failure lasts, one line in this time.
        fields: go with each line, such as ``device="press-01"``.
    """

    def __init__(
        self,
        logger: logging.Logger,
        monotonic_s: Callable[[], float],
        *,
        remind_every_s: float = REMIND_EVERY_S,
        **fields: object,
    ) -> None:
        self._logger = logger
        self._monotonic_s = monotonic_s
        self._remind_every_s = remind_every_s
        self._fields = fields
        self._failing_since_s = 0.0
        self._reminded_s = 0.0
        self._period_began_s = monotonic_s()
        self._lines = 0
        self._suppressed = 0
        self.failures = 0

    def failed(self, message: str, *, exc_info: BaseException | None = None, **fields: object) -> None:
        """Count a failure; the first one is a warning, one an hour is repeated, the others are debug lines.

        Args:
            message: constant text; values go into ``fields``.
            exc_info: adds its traceback to the line; for what is a bug.
            **fields: go with this line.
        """
        now_s = self._monotonic_s()
        self.failures += 1
        if self.failures == 1:
            self._failing_since_s = self._reminded_s = now_s
            self._write(logging.WARNING, message, exc_info, fields)
        elif now_s - self._reminded_s >= self._remind_every_s:
            self._reminded_s = now_s
            for_s = round(now_s - self._failing_since_s, 1)
            self._write(logging.WARNING, message, exc_info, {"failures": self.failures, "for_s": for_s, **fields})
        else:
            self._logger.debug(message, extra={**self._fields, "failures": self.failures, **fields})

    def recovered(self, message: str, **fields: object) -> None:
        """End the failure with a line that says how often and how long; silent if there was none."""
        if not self.failures:
            return
        for_s = round(self._monotonic_s() - self._failing_since_s, 1)
        self._write(logging.INFO, message, None, {"failures": self.failures, "for_s": for_s, **fields})
        self.failures = 0

    def _write(self, level: int, message: str, exc_info: BaseException | None, fields: dict[str, object]) -> None:
        now_s = self._monotonic_s()
        if now_s - self._period_began_s >= self._remind_every_s:
            self._period_began_s, self._lines = now_s, 0
        if self._lines >= LINES_PER_PERIOD:
            self._suppressed += 1
            return
        self._lines += 1
        suppressed = {"suppressed": self._suppressed} if self._suppressed else {}
        self._suppressed = 0
        self._logger.log(level, message, exc_info=exc_info, extra={**self._fields, **fields, **suppressed})
