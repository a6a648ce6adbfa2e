"""The last log records, for the status page: what began, what failed and what recovered."""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from edge_agent.ops.logs import fields_of

MAX_RECORDS = 100
MAX_FIELDS = 12
MAX_TEXT = 300


class LogRing(logging.Handler):
    """Keeps the last ``MAX_RECORDS`` records of the agent and its drivers from ``INFO`` on, each cut to a bound.

    What is logged on the edge is what is here: ``EdgeLog`` has left the repetitions out. A log record carries no
    secret (a ``SecretStr`` prints as stars), and a traceback is not kept.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._records: deque[dict[str, object]] = deque(maxlen=MAX_RECORDS)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is logged from now on until the block ends."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep ``record``; on whatever thread it was made."""
        if not record.name.startswith("edge_agent"):
            return
        fields = list(fields_of(record).items())[:MAX_FIELDS]
        self._records.append(
            {
                "time_ms": round(record.created * 1000),
                "level": record.levelname.lower(),
                "message": record.getMessage()[:MAX_TEXT],
                "fields": {name: str(value)[:MAX_TEXT] for name, value in fields},
            }
        )

    def newest_first(self) -> list[dict[str, object]]:
        """Return what is kept, ready for JSON."""
        return list(reversed(self._records.copy()))
