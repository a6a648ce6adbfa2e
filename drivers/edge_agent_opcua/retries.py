"""Which points the server does not report, and when each is tried again. Pure."""

from collections.abc import Mapping

from edge_agent.model import Quality

# The server will never give the point as it is configured; said when asked to report it, or in place of a value
# (OPC 10000-6 annex A.2).
_BAD_USER_ACCESS_DENIED = 0x801F_0000
_BAD_ATTRIBUTE_ID_INVALID = 0x8035_0000
NEVER = frozenset(
    {
        _BAD_ATTRIBUTE_ID_INVALID,
        _BAD_USER_ACCESS_DENIED,
        Quality.BAD_NODE_ID_INVALID,
        Quality.BAD_NODE_ID_UNKNOWN,
        Quality.BAD_NOT_READABLE,
    }
)


class Retries:
    """A bad node is left alone for long; what may pass is tried soon, then later each time.

    Args:
        bad_node_s: pause after a status of ``NEVER``, and the longest pause.
        transient_s: first pause after any other; twice as long after each further one.
    """

    def __init__(self, bad_node_s: float, transient_s: float) -> None:
        self._bad_node_s = bad_node_s
        self._transient_s = transient_s
        self._waiting: dict[int, tuple[int, float, float]] = {}  # status, pause, end of it

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, point: int) -> bool:
        return point in self._waiting

    def failed(self, point: int, status: int, now_s: float) -> bool:
        """Leave ``point`` alone for a while; return whether the status is news."""
        before, last_s, _ = self._waiting.get(point, (0, 0.0, 0.0))
        if status in NEVER:
            pause_s = self._bad_node_s
        else:
            longest_s = max(self._bad_node_s, self._transient_s)
            pause_s = min(longest_s, 2 * last_s if before and before not in NEVER else self._transient_s)
        self._waiting[point] = (status, pause_s, now_s + pause_s)
        return status != before

    def passed(self, point: int) -> None:
        """The server reports ``point``."""
        self._waiting.pop(point, None)

    def due(self, now_s: float) -> list[int]:
        """Return the points that may be tried now, in order."""
        return sorted(point for point, (_, _, end_s) in self._waiting.items() if now_s >= end_s)

    @property
    def statuses(self) -> Mapping[int, int]:
        """Why each point is not reported."""
        return {point: status for point, (status, _, _) in self._waiting.items()}
