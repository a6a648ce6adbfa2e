"""One live session with an OPC UA server: cyclic reads, and one subscription that the session publishes itself.

A session ends, and the agent connects anew, when the connection is lost, when the server says that the session
or the subscription is gone, when it is silent for longer than its keep-alive allows, and when a notification is
missing (a new session reads every point anew; see docs/adr/0003).
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from asyncua import ua

from edge_agent.clock import Clock
from edge_agent.driver import Context, Emit, Request
from edge_agent.errors import DeviceUnavailableError, DriverError, ExchangeError
from edge_agent.model import Column, DeviceId, Quality, ReadingBatch
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.connection import drop, hang_up, open_connection
from edge_agent_opcua.decode import DataValue, Decoder
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.plan import MAX_OPERATIONS, Item, Publishing, following, items, missed, publishing
from edge_agent_opcua.translation import (
    FOREIGN,
    TOO_MUCH,
    one_exchange,
    plain_cancellation,
    status_of,
    whole_session,
)

MAX_NOTIFICATIONS = 5000  # values in one notification
RENEW_AFTER = 0.75  # of the token's lifetime (OPC 10000-4 §5.6.2.1)

_SERVER_NODES = (
    ua.ObjectIds.Server_NamespaceArray,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
)
_log = logging.getLogger(__name__)


def _bad(status: int) -> Any:
    return ua.DataValue(None, ua.StatusCode(status))


# The server will never give the point as it is configured; said when asked to report it, or in place of a value.
_NEVER = frozenset(
    {
        ua.StatusCodes.BadAttributeIdInvalid,
        ua.StatusCodes.BadNodeIdInvalid,
        ua.StatusCodes.BadNodeIdUnknown,
        ua.StatusCodes.BadNotReadable,
        ua.StatusCodes.BadUserAccessDenied,
    }
)
_NO_NODE = _bad(Quality.BAD_NODE_ID_UNKNOWN)  # the server has no namespace of that URI


async def open_session(config: OpcUaDevice, nodes: Sequence[NodeAddress], context: Context) -> "OpcUaSession":
    """Connect, log in, learn the server's namespaces and limits, and subscribe.

    Raises:
        DeviceUnavailableError: no session.

    On cancellation nothing stays open.
    """
    session = OpcUaSession(config, context.clock, await open_connection(config, context))
    try:
        await session.prepare(nodes, items(config), publishing(config))
    except DriverError:
        await session.close()
        raise
    except BaseException:
        drop(session.client)
        raise
    return session


class OpcUaSession:
    """See ``edge_agent.driver.Session``.

    Attributes:
        client: the library's, used by this session alone.
    """

    def __init__(self, config: OpcUaDevice, clock: Clock, client: Any) -> None:
        self.client = client
        self._device = DeviceId(config.id)
        self._url = config.url
        self._margin_s = config.timeout
        self._clock = clock
        self._decoder = Decoder()
        self._node_ids: list[Any] = []  # by point; None where the server lacks the namespace
        self._namespaces: list[str] = []
        self._nodes_per_read = self._items_per_call = MAX_OPERATIONS
        self._reported: frozenset[int] = frozenset()
        self._rejected: dict[int, int] = {}
        self._subscription_id = 0
        self._silence_s = 0.0
        self._renewing = asyncio.Lock()
        self._renew_at_s = clock.monotonic_s() + RENEW_AFTER * client.secure_channel_timeout / 1e3
        self._is_closed = False

    async def prepare(self, nodes: Sequence[NodeAddress], wanted: Sequence[Item], asked: Publishing) -> None:
        """Resolve ``nodes`` and subscribe to the ``wanted`` items. Called once, before anything else."""
        with whole_session(self._url, "asking for the server's limits"):
            ids = [ua.NodeId(identifier) for identifier in _SERVER_NODES]
            namespaces, reads, calls = await self.client.uaclient.read_attributes(ids, ua.AttributeIds.Value)
        self._nodes_per_read = _limit(reads)
        self._items_per_call = _limit(calls)
        told = namespaces.Value.Value if namespaces.Value is not None else None
        known = told if isinstance(told, list) else []
        self._namespaces = known
        self._node_ids = [_node_id(node, known) for node in nodes]
        if wanted:
            await self._create_subscription(asked)
            await self._create_items(wanted)

    async def read(self, request: Request) -> ReadingBatch:
        points = [point for point in request.points if self._node_ids[point] is not None]
        await self.renew_channel()
        with one_exchange(self._url, "reading"):
            values, self._nodes_per_read = await self._in_chunks(points, self._nodes_per_read, self._read_values)
        time_ns = self._clock.now_ns()
        answers = dict(zip(points, values, strict=True))
        pairs = ((point, answers.get(point, _NO_NODE)) for point in request.points)
        return ReadingBatch(self._device, time_ns, self._decoder.columns(time_ns, pairs))

    async def run(self, emit: Emit) -> None:
        if self._rejected:
            await emit(self._rejections())
        expected: int | None = None
        acknowledgements: list[Any] = []
        while True:
            await self.renew_channel()
            with whole_session(self._url, "waiting for a notification"):
                message = await self._publish(acknowledgements)
            time_ns = self._clock.now_ns()
            sequence, data = int(message.SequenceNumber), message.NotificationData or []
            lost = missed(expected, sequence, is_keep_alive=not data)
            if lost:
                raise DeviceUnavailableError(f"{self._url}: {lost} notifications before {sequence} are missing")
            if not data:
                expected = expected or sequence
                acknowledgements = []
                continue
            expected = following(sequence)
            acknowledgements = [ua.SubscriptionAcknowledgement(self._subscription_id, sequence)]
            columns = self._decoder.columns(time_ns, self._changes(data))
            if columns:
                await emit(ReadingBatch(self._device, time_ns, columns, frozenset(_refused(columns))))

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await hang_up(self.client)

    @property
    def overflows(self) -> int:
        """Readings that came with the Overflow bit so far."""
        return self._decoder.overflows

    def node_id(self, point: int) -> Any:
        """Return the library's node id of a point; None where the server lacks the namespace."""
        return self._node_ids[point]

    def find(self, node: NodeAddress) -> Any:
        """Return the library's node id of any other node; None where the server lacks the namespace."""
        return _node_id(node, self._namespaces)

    async def _publish(self, acknowledgements: list[Any]) -> Any:
        """Return the next NotificationMessage; exactly one request is outstanding, so they come in order."""
        try:
            async with asyncio.timeout(self._silence_s):
                with plain_cancellation():
                    response = await self.client.uaclient.session.publish(acknowledgements)
        except TimeoutError as exc:
            raise DeviceUnavailableError(
                f"{self._url} said nothing for {self._silence_s:.1f} s, not even that it is alive"
            ) from exc
        response.ResponseHeader.ServiceResult.check()
        if response.Parameters.SubscriptionId != self._subscription_id:
            raise DeviceUnavailableError(f"{self._url} has lost the subscription")
        return response.Parameters.NotificationMessage

    def _changes(self, data: Iterable[Any]) -> Iterable[tuple[int, DataValue]]:
        for part in data:
            if isinstance(part, ua.DataChangeNotification):
                for item in part.MonitoredItems:
                    if item.ClientHandle in self._reported:
                        yield item.ClientHandle, item.Value
            elif isinstance(part, ua.StatusChangeNotification):
                raise DeviceUnavailableError(f"{self._url} has ended the subscription: {part.Status.name}")

    def _rejections(self) -> ReadingBatch:
        time_ns = self._clock.now_ns()
        pairs = ((point, _bad(status)) for point, status in self._rejected.items())
        columns = self._decoder.columns(time_ns, pairs)
        return ReadingBatch(self._device, time_ns, columns, frozenset(_refused(columns)))

    async def renew_channel(self) -> None:
        """Renew the channel's token in time, on the way to a request: no task has to live for it."""
        if self._clock.monotonic_s() < self._renew_at_s:
            return
        async with self._renewing:
            if self._clock.monotonic_s() >= self._renew_at_s:
                with whole_session(self._url, "renewing the secure channel"):
                    await self.client.open_secure_channel(renew=True)
                    self.client.uaclient.revolve_security_token()
                lifetime_s = self.client.secure_channel_timeout / 1e3
                self._renew_at_s = self._clock.monotonic_s() + RENEW_AFTER * lifetime_s

    async def _create_subscription(self, asked: Publishing) -> None:
        service = self.client.uaclient.session
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
        self._subscription_id = given.SubscriptionId
        self._silence_s = interval_s * keep_alives + self._margin_s
        _log.debug(
            "subscribed",
            extra={"device": self._device, "publishing_s": interval_s, "silence_s": self._silence_s},
        )

    async def _create_items(self, wanted: Sequence[Item]) -> None:
        known = [item for item in wanted if self._node_ids[item.point] is not None]
        self._rejected = {
            item.point: Quality.BAD_NODE_ID_UNKNOWN for item in wanted if self._node_ids[item.point] is None
        }
        with whole_session(self._url, "subscribing"):
            results, self._items_per_call = await self._in_chunks(known, self._items_per_call, self._monitor)
        for item, result in zip(known, results, strict=True):
            if result.StatusCode.is_bad():
                self._rejected[item.point] = result.StatusCode.value
        self._reported = frozenset(item.point for item in known if item.point not in self._rejected)

    async def _monitor(self, wanted: Sequence[Item]) -> Sequence[Any]:
        params = ua.CreateMonitoredItemsParameters(
            SubscriptionId=self._subscription_id,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[
                ua.MonitoredItemCreateRequest(
                    ItemToMonitor=ua.ReadValueId(
                        NodeId=self._node_ids[item.point], AttributeId=ua.AttributeIds.Value
                    ),
                    MonitoringMode=ua.MonitoringMode.Reporting,
                    RequestedParameters=ua.MonitoringParameters(
                        ClientHandle=item.point,
                        SamplingInterval=item.sampling_s * 1e3,
                        QueueSize=item.queue_size,
                        DiscardOldest=True,
                    ),
                )
                for item in wanted
            ],
        )
        results: Sequence[Any] = await self.client.uaclient.create_monitored_items(params)
        return results

    async def _read_values(self, points: Sequence[int]) -> Sequence[Any]:
        node_ids = [self._node_ids[point] for point in points]
        values: Sequence[Any] = await self.client.uaclient.read_attributes(node_ids, ua.AttributeIds.Value)
        return values

    async def _in_chunks(
        self, things: Sequence[Any], limit: int, call: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]
    ) -> tuple[list[Any], int]:
        """Return one result for each of ``things``, in order, and the limit that the server turned out to have.

        A server that finds a request too large, whatever it announced, is asked for half as much.
        """
        results: list[Any] = []
        while len(results) < len(things):
            chunk = things[len(results) : len(results) + limit]
            try:
                part = await call(chunk)
            except FOREIGN as exc:
                if len(chunk) == 1 or status_of(exc) not in TOO_MUCH:
                    raise
                limit = len(chunk) // 2
                continue
            if len(part) != len(chunk):
                raise ExchangeError(f"{self._url} answered {len(part)} of {len(chunk)} operations")
            results += part
        return results, limit


def _refused(columns: Iterable[Column]) -> Iterable[int]:
    for column in columns:
        for point, status in zip(column.points, column.statuses or (), strict=False):
            if status in _NEVER:
                yield point


def _limit(value: Any) -> int:
    """Return an operation limit as the server tells it; 0, nothing or nonsense means that it tells none."""
    told = value.Value.Value if value.Value is not None else None
    return min(told, MAX_OPERATIONS) if isinstance(told, int) and told > 0 else MAX_OPERATIONS


def _node_id(node: NodeAddress, namespaces: Sequence[str]) -> Any:
    index = node.index_in(namespaces)
    return None if index is None else ua.NodeId(node.identifier, index)
