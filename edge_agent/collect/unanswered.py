"""Which planned exchanges of a device give nothing, while it answers others. Pure."""

from collections.abc import Iterator, Sequence

from edge_agent.driver import Request
from edge_agent.probation import Probation


class Unanswered:
    """Failures in a row of each planned exchange, told by the points that it answers for; outlives sessions.

    An exchange that failed ``limit`` times in a row is *known*: its points are Bad, and it says nothing more about
    the device as a whole. On a shared line its time-out costs the others, so it is tried only now and then.

    Args:
        limit: failures in a row that make an exchange known.
        longest_s: between two tries of a known one.
    """

    def __init__(self, limit: int, longest_s: float) -> None:
        self._limit = limit
        self._probation = Probation[tuple[int, ...]](longest_s)
        self._failures: dict[tuple[int, ...], int] = {}

    def failed(self, request: Request, now_s: float) -> bool:
        """Count a failure; return whether it made the exchange known."""
        points = tuple(request.points)
        self._failures[points] = self._failures.get(points, 0) + 1
        if self._failures[points] >= self._limit:
            self._probation.failed(points, now_s)
        return self._failures[points] == self._limit

    def is_due(self, request: Request, now_s: float) -> bool:
        """Return whether an exchange may be tried."""
        return self._probation.is_due(tuple(request.points), now_s)

    def answered(self, request: Request) -> None:
        """Forget the failures of one exchange."""
        points = tuple(request.points)
        self._failures.pop(points, None)
        self._probation.passed(points)

    def keep_to(self, requests: Sequence[Request]) -> None:
        """Forget what is not among ``requests``: those are asked from now on."""
        planned = {tuple(request.points) for request in requests}
        for points in self._failures.keys() - planned:
            del self._failures[points]
            self._probation.passed(points)

    @property
    def has_known(self) -> bool:
        """Whether any exchange is known."""
        return any(count >= self._limit for count in self._failures.values())

    def known(self) -> Iterator[tuple[tuple[int, ...], int, float]]:
        """Yield the known ones: points, failures in a row, and the control time of the next try."""
        for points, count in self._failures.items():
            if count >= self._limit:
                yield points, count, self._probation[points].due_s

    def is_known(self, request: Request) -> bool:
        """Return whether an exchange is known."""
        return self._failures.get(tuple(request.points), 0) >= self._limit

    def untried(self, requests: Sequence[Request]) -> Sequence[Request]:
        """Return those of ``requests`` that did not fail last; if all did, each gets its chance again."""
        fresh = [request for request in requests if tuple(request.points) not in self._failures]
        if fresh:
            return fresh
        for request in requests:
            self.answered(request)
        return requests
