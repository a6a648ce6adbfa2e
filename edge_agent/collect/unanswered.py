"""Which planned exchanges of a device give nothing, while it answers others. Pure."""

from collections.abc import Sequence

from edge_agent.driver import Request


class Unanswered:
    """Failures in a row of each planned exchange, told by the points that it answers for; outlives sessions.

    An exchange that failed ``limit`` times in a row is *known*: its points are Bad, and it says nothing more about
    the device as a whole.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failures: dict[tuple[int, ...], int] = {}

    def failed(self, request: Request) -> bool:
        """Count a failure; return whether it made the exchange known."""
        points = tuple(request.points)
        self._failures[points] = self._failures.get(points, 0) + 1
        return self._failures[points] == self._limit

    def answered(self, request: Request) -> None:
        """Forget the failures of one exchange."""
        self._failures.pop(tuple(request.points), None)

    def forget(self) -> None:
        """Begin anew, with other exchanges."""
        self._failures.clear()

    @property
    def has_known(self) -> bool:
        """Whether any exchange is known."""
        return any(count >= self._limit for count in self._failures.values())

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
