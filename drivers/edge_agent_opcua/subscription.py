"""One subscription at the server: its items, how long it may be silent, and which notification comes next."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from asyncua import ua

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.plan import Item, Publishing, following, missed
from edge_agent_opcua.point import Trigger
from edge_agent_opcua.revisions import Revisions
from edge_agent_opcua.services import Services
from edge_agent_opcua.translation import whole_session

MAX_NOTIFICATIONS = 5000  # values in one notification

_CODES = ua.StatusCodes
_NO_FILTER = frozenset(
    {
        _CODES.BadDeadbandFilterInvalid,
        _CODES.BadFilterNotAllowed,
        _CODES.BadMonitoredItemFilterInvalid,
        _CODES.BadMonitoredItemFilterUnsupported,
    }
)


class Subscription:
    """Made by ``create``.

    Attributes:
        number: the server's SubscriptionId.
        silence_s: longer than this it never says nothing.
        heard_s: control time of what it said last; time in which nobody listened does not count.
        heard_ns: the same in data time.
        is_heard: it said something since listening began.
        reported: monitored item of each point that the server reports.
        queue_sizes: of those, how many samples or events the server keeps.
    """

    def __init__(self, services: Services, url: str, asked: Publishing, revisions: Revisions) -> None:
        self.number = 0
        self.silence_s = math.inf
        self.heard_s = 0.0
        self.heard_ns = 0
        self.is_heard = False
        self.reported: dict[int, int] = {}
        self.queue_sizes: dict[int, int] = {}
        self._services = services
        self._url = url
        self._asked = asked
        self._revisions = revisions
        self._expected: int | None = None

    async def create(self, margin_s: float) -> None:
        """Create it at the server, without items.

        Args:
            margin_s: how late the server may be.

        Raises:
            DeviceUnavailableError: the server refuses, or its answer makes no sense.
        """
        asked, service = self._asked, self._services.client.uaclient.session
        params = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=asked.interval_s * 1e3,
            RequestedLifetimeCount=asked.lifetime_count,
            RequestedMaxKeepAliveCount=asked.keep_alive_count,
            MaxNotificationsPerPublish=MAX_NOTIFICATIONS,
            PublishingEnabled=True,
        )
        with whole_session(self._url, "creating a subscription"):
            given = await service.create_subscription(params, callback=None)
            interval_s, keep_alives = given.RevisedPublishingInterval / 1e3, given.RevisedMaxKeepAliveCount
            if interval_s > 2 * asked.interval_s:
                # The server is slower than asked: fewer of its intervals make up the same silence.
                changed = ua.ModifySubscriptionParameters(
                    SubscriptionId=given.SubscriptionId,
                    RequestedPublishingInterval=given.RevisedPublishingInterval,
                    RequestedLifetimeCount=given.RevisedLifetimeCount,
                    RequestedMaxKeepAliveCount=max(
                        1, round(asked.keep_alive_count * asked.interval_s / interval_s)
                    ),
                    MaxNotificationsPerPublish=MAX_NOTIFICATIONS,
                )
                given_now = await service.update_subscription(changed)
                interval_s = given_now.RevisedPublishingInterval / 1e3
                keep_alives = given_now.RevisedMaxKeepAliveCount
        if not (math.isfinite(interval_s) and interval_s >= 0):
            raise DeviceUnavailableError(f"{self._url} gives a publishing interval of {interval_s}")
        self.number = given.SubscriptionId
        self.silence_s = interval_s * keep_alives + margin_s
        self._revisions.published(asked.interval_s, interval_s)

    async def delete(self) -> None:
        """Give it up at the server.

        Raises:
            DeviceUnavailableError: it could not be asked.
        """
        with whole_session(self._url, "giving up a subscription"):
            await self._services.client.uaclient.session.delete_subscriptions([self.number])

    async def monitor(self, items: Sequence[Item], node_ids: Sequence[Any]) -> Mapping[int, int]:
        """Ask that points be reported; return the statuses of those that the server does not report.

        A deadband or trigger that it does not have is left out: then it reports every change.
        """
        nodes = dict(zip((item.point for item in items), node_ids, strict=True))
        with whole_session(self._url, "subscribing"):
            results = await self._services.monitor(self.number, [(item, nodes[item.point]) for item in items])
            rejected = dict(self._take(items, results))
            plain = [
                replace(item, deadband=None, trigger=Trigger.VALUE)
                for item in items
                if item.is_filtered and rejected.get(item.point) in _NO_FILTER
            ]
            if plain:
                results = await self._services.monitor(self.number, [(item, nodes[item.point]) for item in plain])
                rejected = {
                    point: status for point, status in rejected.items() if all(point != it.point for it in plain)
                } | dict(self._take(plain, results))
                self._revisions.unfiltered(item.point for item in plain if item.point not in rejected)
        return rejected

    async def forget(self, points: Iterable[int]) -> None:
        """Ask that points be reported no longer."""
        item_ids = [self.reported.pop(point) for point in points if point in self.reported]
        with whole_session(self._url, "giving up items"):
            await self._services.forget(self.number, item_ids)

    def missed(self, sequence: int, *, is_keep_alive: bool) -> int:
        """Take note of a notification; return how many are missing before it."""
        lost = missed(self._expected, sequence, is_keep_alive=is_keep_alive)
        if is_keep_alive:
            self._expected = self._expected or sequence
        else:
            self._expected = following(sequence)
        return lost

    def _take(self, items: Sequence[Item], results: Sequence[Any]) -> Iterable[tuple[int, int]]:
        for item, result in zip(items, results, strict=True):
            if result.StatusCode.is_bad():
                yield item.point, result.StatusCode.value
            else:
                self.reported[item.point] = result.MonitoredItemId
                self.queue_sizes[item.point] = result.RevisedQueueSize
                self._revisions.item(item, result.RevisedSamplingInterval / 1e3, result.RevisedQueueSize)
