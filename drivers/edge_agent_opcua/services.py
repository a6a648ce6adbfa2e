"""The services of one server over one connection: what it takes at a time, and the channel that carries them.

Each call may raise what ``translation.FOREIGN`` names; the caller says what that ends.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence, Sized
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from asyncua import ua

from edge_agent.clock import Clock
from edge_agent.errors import ExchangeError
from edge_agent_opcua import wire
from edge_agent_opcua.browse_path import Address, BrowsePath
from edge_agent_opcua.convert import EPOCH_TICKS, LATEST_TICKS, TICK_NS
from edge_agent_opcua.event_filter import event_filter
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.node_types import subtypes_of
from edge_agent_opcua.plan import Item, chunks
from edge_agent_opcua.point import Discard, Trigger
from edge_agent_opcua.profiles import AUTO, MAX_OPERATIONS, PROFILES, Profile, detect
from edge_agent_opcua.responses import HistoryPart, Notification, Values
from edge_agent_opcua.translation import FOREIGN, TOO_MUCH, status_of, whole_session

T = TypeVar("T", bound=Sized)

_LATEST_NS = (LATEST_TICKS - EPOCH_TICKS) * TICK_NS
_NOTHING_REMAINS = 0xFFFF_FFFF  # OPC 10000-4 §5.9.4.2
HISTORY_NODES, HISTORY_VALUES = 20, 1000  # of one request
RENEW_AFTER = 0.75  # of the token's lifetime (OPC 10000-4 §5.6.2.1)

_IDS = ua.ObjectIds
_SERVER_NODES = (
    _IDS.Server_NamespaceArray,
    _IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    _IDS.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    _IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
    _IDS.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    _IDS.Server_ServerCapabilities_MaxMonitoredItemsPerSubscription,
    _IDS.Server_ServerStatus_CurrentTime,
    _IDS.Server_ServerStatus_BuildInfo_ManufacturerName,
    _IDS.Server_ServerStatus_BuildInfo_ProductName,
)
_TRIGGERS = {
    Trigger.STATUS: ua.DataChangeTrigger.Status,
    Trigger.VALUE: ua.DataChangeTrigger.StatusValue,
    Trigger.TIMESTAMP: ua.DataChangeTrigger.StatusValueTimestamp,
}


class Portion:
    """How many operations of one kind go into a request.

    A server that finds a request too large, whatever it announced, is asked for half as much from then on.
    """

    def __init__(self) -> None:
        self.size = MAX_OPERATIONS

    async def each(
        self, things: Sequence[Any], call: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]
    ) -> list[Any]:
        """Return one result for each of ``things``, in order; raises as ``parts``."""
        return [result for answers in await self.parts(things, call) for result in answers]

    async def parts(self, things: Sequence[Any], call: Callable[[Sequence[Any]], Awaitable[T]]) -> list[T]:
        """Return the answers that hold one result for each of ``things``, in order.

        Raises:
            ExchangeError: an answer is not as long as its request; all of them are void.
        """
        results: list[T] = []
        done = 0
        while done < len(things):
            part = things[done : done + self.size]
            try:
                answers = await call(part)
            except FOREIGN as exc:
                if len(part) == 1 or status_of(exc) not in TOO_MUCH:
                    raise
                self.size = len(part) // 2
                continue
            if len(answers) != len(part):
                raise ExchangeError(f"the server answered {len(answers)} of {len(part)} operations")
            results.append(answers)
            done += len(part)
        return results


class Services:
    """What a session asks of its server.

    Attributes:
        client: the library's, used by this session alone.
        namespaces: URIs, by index, as last learned.
        profile: what is known of the server.
        max_items: most items of one subscription (OPC 10000-5 §6.3.2); 0: the server tells no limit.
        ahead_ns: by how much the server's clock is ahead of ours, less the time that its answer took.
        renew_at_s: control time from which the channel's token is renewed.
    """

    def __init__(self, client: Any, url: str, clock: Clock) -> None:
        self.client = client
        self.namespaces: list[str] = []
        self.profile: Profile = PROFILES["standard"]
        self._url = url
        self._clock = clock
        self._reads, self._items, self._ways = Portion(), Portion(), Portion()
        self._history_nodes = HISTORY_NODES
        self._below: dict[Any, Sequence[Any]] = {}  # by type of events, the types below it
        self.max_items = 0
        self.ahead_ns = 0
        self._renewing = asyncio.Lock()
        self.renew_at_s = clock.monotonic_s() + RENEW_AFTER * client.secure_channel_timeout / 1e3

    async def learn(self, profile: str) -> None:
        """Ask for the server's namespaces, limits and name.

        Args:
            profile: the configured one.
        """
        ids = [ua.NodeId(identifier) for identifier in _SERVER_NODES]
        read = partial(self.client.uaclient.read_attributes, attr=ua.AttributeIds.Value)
        told = await self._reads.each(ids, read)
        namespaces, reads, calls, histories, ways, items, now, manufacturer, product = (
            value.Value.Value if value.Value is not None else None for value in told
        )
        self.namespaces = namespaces if isinstance(namespaces, list) else []
        self.profile = PROFILES[detect(str(manufacturer), str(product)) if profile == AUTO else profile]
        self._reads.size = min(_limit(reads), self.profile.max_operations)
        self._items.size = min(_limit(calls), self.profile.max_operations)
        self._ways.size = min(_limit(ways), self.profile.max_operations)
        self._history_nodes = min(_limit(histories), HISTORY_NODES)
        self.max_items = items if isinstance(items, int) and items > 0 else 0
        self.ahead_ns = _ahead_ns(now, self._clock.now_ns())

    async def learn_namespaces(self) -> None:
        """Ask for the namespaces again: a server may have got more of them."""
        (told,) = await self.client.uaclient.read_attributes(
            [ua.NodeId(_IDS.Server_NamespaceArray)], ua.AttributeIds.Value
        )
        if told.Value is not None and isinstance(told.Value.Value, list):
            self.namespaces = told.Value.Value

    async def read(self, operations: Sequence[bytes]) -> list[Values]:
        """Return the values that ``wire.value_of`` asks for: several answers, if it is too much for one."""
        return await self._reads.parts(operations, partial(wire.read, self.client.uaclient.session))

    async def attributes(self, node_ids: Sequence[Any], attribute: Any) -> list[Any]:
        """Return the library's DataValue of an attribute of each node."""

        async def call(part: Sequence[Any]) -> Sequence[Any]:
            values: Sequence[Any] = await self.client.uaclient.read_attributes(part, attribute)
            return values

        return await self._reads.each(node_ids, call)

    def history_portions(self, points: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield ``points``, as many at a time as may be in one request for history."""
        return chunks(points, self._history_nodes)

    async def history(
        self, nodes: Sequence[tuple[Any, bytes | None]], start: datetime, end: datetime
    ) -> list[HistoryPart]:
        """Return a part of the history of each node, each with what an answer before said that there is more."""
        return await wire.history(self.client.uaclient.session, nodes, start, end, HISTORY_VALUES)

    async def monitor(self, subscription_id: int, items: Sequence[tuple[Item, Any]]) -> list[Any]:
        """Ask that items be reported, each with its node; return a MonitoredItemCreateResult for each."""
        if self.profile.takes_types_literally:
            await self._learn_types([item for item, _ in items])

        async def call(part: Sequence[tuple[Item, Any]]) -> Sequence[Any]:
            params = ua.CreateMonitoredItemsParameters(
                SubscriptionId=subscription_id,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=[self._create(item, node_id) for item, node_id in part],
            )
            results: Sequence[Any] = await self.client.uaclient.create_monitored_items(params)
            return results

        return await self._items.each(items, call)

    async def forget(self, subscription_id: int, item_ids: Sequence[int]) -> None:
        """Ask that items be reported no longer. What the server says of each does not matter."""

        async def call(part: Sequence[int]) -> Sequence[Any]:
            params = ua.DeleteMonitoredItemsParameters(subscription_id, list(part))
            results: Sequence[Any] = await self.client.uaclient.delete_monitored_items(params)
            return results

        await self._items.each(item_ids, call)

    async def publish(self, acknowledgements: Sequence[Any]) -> Notification:
        """Wait for what the server has to say."""
        return await wire.publish(self.client.uaclient.session, acknowledgements)

    async def renew_channel(self) -> None:
        """Renew the channel's token in time, on the way to a request: no task has to live for it.

        Raises:
            DeviceUnavailableError: it could not be renewed.
        """
        if self._clock.monotonic_s() < self.renew_at_s:
            return
        async with self._renewing:
            if self._clock.monotonic_s() >= self.renew_at_s:
                with whole_session(self._url, "renewing the secure channel"):
                    await self.client.open_secure_channel(renew=True)
                    self.client.uaclient.revolve_security_token()
                lifetime_s = self.client.secure_channel_timeout / 1e3
                self.renew_at_s = self._clock.monotonic_s() + RENEW_AFTER * lifetime_s

    def find(self, node: NodeAddress) -> Any:
        """Return the library's node id; None where the server lacks the namespace."""
        index = node.index_in(self.namespaces)
        return None if index is None else ua.NodeId(node.identifier, index)

    async def resolve(self, addresses: Sequence[Address]) -> list[Any]:
        """Return the library's node id for each address; None where the server has no such thing."""
        found: list[Any] = [self.find(one) if isinstance(one, NodeAddress) else None for one in addresses]
        ways = {
            i: way for i, one in enumerate(addresses) if isinstance(one, BrowsePath) and (way := self._way(one))
        }

        async def call(part: Sequence[Any]) -> Sequence[Any]:
            results: Sequence[Any] = await self.client.uaclient.translate_browsepaths_to_nodeids(part)
            return results

        for i, result in zip(ways, await self._ways.each(list(ways.values()), call), strict=True):
            whole = [it.TargetId for it in result.Targets or () if it.RemainingPathIndex == _NOTHING_REMAINS]
            if whole and not result.StatusCode.is_bad():
                found[i] = ua.NodeId(whole[0].Identifier, whole[0].NamespaceIndex, whole[0].NodeIdType)
        return found

    def _way(self, path: BrowsePath) -> Any:
        steps = path.indexes_in(self.namespaces)
        if steps is None:
            return None
        kind = ua.NodeId(_IDS.HierarchicalReferences)
        elements = [
            ua.RelativePathElement(kind, False, True, ua.QualifiedName(name, index))  # noqa: FBT003 - the library's
            for index, name in steps
        ]
        return ua.BrowsePath(ua.NodeId(_IDS.RootFolder), ua.RelativePath(elements))

    async def _learn_types(self, items: Sequence[Item]) -> None:
        """Ask which types of events are below those that are wanted; each is asked for once."""
        for item in items:
            for node_id in map(self.find, item.events.types if item.events is not None else ()):
                if node_id is not None and node_id not in self._below:
                    self._below[node_id] = await subtypes_of(self.client.uaclient, node_id)

    def _create(self, item: Item, node_id: Any) -> Any:
        params = ua.MonitoringParameters(
            ClientHandle=item.point,
            SamplingInterval=item.sampling_s * 1e3,
            QueueSize=item.queue_size,
            DiscardOldest=item.discard is Discard.OLDEST,
        )
        if item.events is not None:
            literally = self._below.__getitem__ if self.profile.takes_types_literally else None
            params.Filter = event_filter(item.events, self.find, literally)
        elif item.is_filtered:
            params.Filter = _data_filter(item)
        kind = ua.AttributeIds.Value if item.events is None else ua.AttributeIds.EventNotifier
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=node_id, AttributeId=kind),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=params,
        )


def _data_filter(item: Item) -> Any:
    kind, width = ua.DeadbandType.None_, 0.0
    if item.deadband is not None:
        is_percent = bool(item.deadband.percent)
        kind = ua.DeadbandType.Percent if is_percent else ua.DeadbandType.Absolute
        width = item.deadband.percent if is_percent else item.deadband.absolute
    return ua.DataChangeFilter(_TRIGGERS[item.trigger], kind, width)


def _limit(told: object) -> int:
    """Return an operation limit as the server tells it; 0, nothing or nonsense means that it tells none."""
    return min(told, MAX_OPERATIONS) if isinstance(told, int) and told > 0 else MAX_OPERATIONS


def _ahead_ns(told: object, now_ns: int) -> int:
    """Return 0 where the server tells no usable time: its readings then have none either."""
    if not isinstance(told, datetime):
        return 0
    since = (told if told.tzinfo else told.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    then_ns = since // timedelta(microseconds=1) * 1000
    return then_ns - now_ns if 0 <= then_ns < _LATEST_NS else 0
