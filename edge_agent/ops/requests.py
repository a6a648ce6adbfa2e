"""Requests that fail. Whoever reaches the port can send them: they are logged on the edge, without their bytes."""

import logging
from collections.abc import Callable

from aiohttp import web
from aiohttp.http import HttpProcessingError

from edge_agent.edge_log import EdgeLog

_log = logging.getLogger(__name__)

NOT_HTTP = (HttpProcessingError, web.RequestPayloadError)
"""What aiohttp raises at a request, or its body, that is not what it says."""


def request_log(monotonic_s: Callable[[], float]) -> logging.Logger:
    """Return the logger for a server: of each kind of failure the first is told, then one an hour.

    A request's own bytes are left out: they may hold the token.
    """
    logger = logging.Logger(__name__)  # noqa: LOG001 - in no tree: its records end at this handler
    logger.addHandler(_OnTheEdge(monotonic_s))
    return logger


class _OnTheEdge(logging.Handler):
    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        super().__init__(logging.WARNING)
        self._monotonic_s = monotonic_s
        self._kinds: dict[str, EdgeLog] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of a request that failed."""
        error = record.exc_info[1] if record.exc_info else None
        kind = type(error).__name__
        if kind not in self._kinds:
            self._kinds[kind] = EdgeLog(_log, self._monotonic_s)
        if isinstance(error, NOT_HTTP):
            self._kinds[kind].failed("a request is not HTTP and was refused", kind=kind)
        else:
            self._kinds[kind].failed("a request failed because of a bug", exc_info=error, kind=kind)
