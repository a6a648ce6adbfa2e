"""All subscriptions of one session: which of them reports a point, what was heard of each, and which is silent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge_agent.errors import DeviceUnavailableError
from edge_agent.model import Quality
from edge_agent_opcua.nodes import Nodes
from edge_agent_opcua.plan import Item, Publishing
from edge_agent_opcua.revisions import Revisions
from edge_agent_opcua.services import Services
from edge_agent_opcua.subscription import Subscription
from edge_agent_opcua.translation import is_for_want_of_subscriptions

TOO_MANY = 0x80DB_0000  # BadTooManyMonitoredItems, OPC 10000-6 annex A.2
MAX_SUBSCRIPTIONS = 50  # of one session: each has a request under way, and the library has 100 at the most


class Subscriptions:
    """Made by ``create``.

    Args:
        nodes: of the points, resolved before.
        revisions: told of what the server does otherwise.
        margin_s: how late the server may be.

    Attributes:
        items: by point, what the server was asked to report.
    """

    def __init__(self, services: Services, url: str, nodes: Nodes, revisions: Revisions, margin_s: float) -> None:
        self._services = services
        self._url = url
        self._nodes = nodes
        self._revisions = revisions
        self._margin_s = margin_s
        self.items: dict[int, Item] = {}
        self._publishing_s: dict[int, float] = {}
        self._by_number: dict[int, Subscription] = {}
        self._of_point: dict[int, Subscription] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_number.values())

    async def create(self, wanted: Sequence[Publishing]) -> Mapping[int, int]:
        """Subscribe to what is ``wanted``; return the statuses of the points that the server does not report.

        Raises:
            DeviceUnavailableError: the server refuses, or its answers make no sense.
        """
        rejected: dict[int, int] = {}
        firsts: list[Subscription | None] = []  # one each before any has another
        for publishing in wanted:
            firsts.append(await (self._further(publishing) if firsts else self._create(publishing)))
        for publishing, first in zip(wanted, firsts, strict=True):
            self.items |= {item.point: item for item in publishing.items}
            self._publishing_s |= dict.fromkeys((item.point for item in publishing.items), publishing.interval_s)
            rejected |= await self._spread(publishing, first)
        self._tell_room(self.items, rejected)
        return rejected

    def interval_s(self, point: int) -> float:
        """Return how often news of ``point`` would come, if the server reported it as it was asked to."""
        return max(self._publishing_s[point], self.items[point].sampling_s)

    async def ask_anew(self, points: Sequence[int]) -> Mapping[int, int]:
        """Ask for points as if for the first time; return the statuses of those that are not reported."""
        rejected: dict[int, int] = {}
        for subscription in self:
            mine = [point for point in points if self._of_point[point] is subscription]
            if mine:
                await subscription.forget(mine)
                rejected |= await self._monitor(subscription, [self.items[point] for point in mine])
        self._tell_room(points, rejected)
        return rejected

    def numbered(self, number: int) -> Subscription:
        """Return the one with the server's ``number``.

        Raises:
            DeviceUnavailableError: it is none of ours: the server has lost those.
        """
        if number not in self._by_number:
            raise DeviceUnavailableError(f"{self._url} has lost the subscription")
        return self._by_number[number]

    def of(self, point: int) -> Subscription:
        """Return the one that reports ``point``, or was asked to last."""
        return self._of_point[point]

    @property
    def points(self) -> Sequence[int]:
        """All that the server was asked to report."""
        return tuple(self._of_point)

    def variables(self, points: Iterable[int]) -> Iterable[int]:
        """Return those of the reported ``points`` that are not events."""
        return (point for point in points if self.items[point].events is None)

    def listen(self, now_s: float, asked_ns: int) -> None:
        """Listening begins; the silence of each begins with it.

        Args:
            now_s: control time.
            asked_ns: data time at which the server was asked to report.
        """
        for subscription in self:
            subscription.heard_s, subscription.heard_ns, subscription.is_heard = now_s, asked_ns, False

    def did_not_listen(self, for_s: float) -> None:
        """The server could say nothing for this time, because nobody listened."""
        for subscription in self:
            subscription.heard_s += for_s

    @property
    def are_heard(self) -> bool:
        """Whether each of them has said something."""
        return all(subscription.is_heard for subscription in self)

    @property
    def complete_ns(self) -> int:
        """Data time until which all of them were heard."""
        return min(subscription.heard_ns for subscription in self)

    def most_silent(self, now_s: float) -> tuple[Subscription, float]:
        """Return the one whose silence is a loss first, and in how long; 0 or less: it is one."""
        left_s = {one: one.heard_s + one.silence_s - now_s for one in self}
        silent = min(left_s, key=lambda one: left_s[one])
        return silent, left_s[silent]

    async def _spread(self, asked: Publishing, first: Subscription | None) -> Mapping[int, int]:
        """Subscribe to the items of one interval, in as many subscriptions as it takes; return as ``create``.

        What a server finds too much for one subscription goes into the next, whether it told its limit or not, as
        long as that gets anywhere: the limit may be one of all its clients together.
        """
        rejected: dict[int, int] = {}
        limit = self._services.max_items or len(asked.items)
        waiting = asked.items
        subscription, home = first, first or next(iter(self))
        while subscription is not None:
            mine, waiting = waiting[:limit], waiting[limit:]
            refused = await self._monitor(subscription, mine)
            crowded = tuple(item for item in mine if refused.get(item.point) == TOO_MANY)
            is_vain = bool(crowded) and not subscription.reported
            if not is_vain:
                home = subscription
            elif subscription is not home:
                del self._by_number[subscription.number]
                await subscription.delete()
            self._of_point |= dict.fromkeys((item.point for item in mine), home)
            rejected |= {point: status for point, status in refused.items() if status != TOO_MANY}
            waiting = crowded + waiting
            subscription = await self._further(asked) if waiting and not is_vain else None
        left_out = [item.point for item in waiting]
        self._of_point |= dict.fromkeys(left_out, home)
        return rejected | dict.fromkeys(left_out, TOO_MANY)

    def _tell_room(self, points: Iterable[int], rejected: Mapping[int, int]) -> None:
        """Say for which of ``points``, that the server was asked to report, it had room."""
        for point in points:
            is_event = self.items[point].events is not None
            self._revisions.has_room(point, is_event=is_event, has_room=rejected.get(point) != TOO_MANY)

    async def _create(self, asked: Publishing) -> Subscription:
        subscription = Subscription(self._services, self._url, asked, self._revisions)
        await subscription.create(self._margin_s)
        self._by_number[subscription.number] = subscription
        return subscription

    async def _further(self, asked: Publishing) -> Subscription | None:
        """Create another one; return None if there may be no more."""
        if len(self._by_number) >= MAX_SUBSCRIPTIONS:
            return None
        try:
            return await self._create(asked)
        except DeviceUnavailableError as exc:
            if not is_for_want_of_subscriptions(exc):
                raise
            return None

    async def _monitor(self, subscription: Subscription, items: Sequence[Item]) -> Mapping[int, int]:
        """Ask that items be reported; return the statuses of those that are not."""
        known = [item for item in items if self._nodes[item.point] is not None]
        unknown = (item.point for item in items if self._nodes[item.point] is None)
        rejected = await subscription.monitor(known, [self._nodes[item.point] for item in known])
        return dict.fromkeys(unknown, int(Quality.BAD_NODE_ID_UNKNOWN)) | dict(rejected)
