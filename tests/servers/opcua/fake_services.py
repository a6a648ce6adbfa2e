"""The services of an OPC UA server as the library's client shows them: what real servers do too rarely."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary

SUBSCRIPTION = 7  # number of the first; each further one is 10 more


class FakeServer:
    """The services of the library's client, answered without a network."""

    def __init__(self) -> None:
        self.uaclient = self.session = self
        self.secure_channel_timeout = 1000.0
        self.largest_read = 10_000
        self.namespaces = ["http://opcfoundation.org/UA/"]
        self.product = "Thing"
        self.now: datetime | None = None
        self.max_items: int | None = None
        self.answers_missing = 0
        self.interval_ms = 0.0
        self.subscriptions: dict[int, set[int]] = {}  # points by number
        self.largest_subscription = self.most_items = self.most_subscriptions = 100_000
        self.item_codes: dict[int, int] = {}
        self.filter_code = 0
        self.asked: list[Any] = []
        self.deleted: list[int] = []
        self.read_sizes: list[int] = []
        self.modified: list[Any] = []
        self.renewals = 0
        self.notifications: list[Any] = []
        self.acknowledged: list[list[int]] = []

    async def read_attributes(self, node_ids: Sequence[Any], attr: object) -> list[Any]:
        assert node_ids[0].Identifier == ua.ObjectIds.Server_NamespaceArray
        told = (self.namespaces, 0, None, None, None, self.max_items, self.now, "Maker", self.product)
        return [ua.DataValue(ua.Variant(one)) for one in told[: len(node_ids)]]

    async def _send_request(self, request: Any, **_: object) -> Buffer:
        if isinstance(request, ua.PublishRequest):
            response = await self.publish(request.Parameters.SubscriptionAcknowledgements)
        else:
            sent = Buffer(ua_binary.struct_to_binary(request))
            response = self.read(ua_binary.struct_from_binary(ua.ReadRequest, sent))
            assert not len(sent)
        return Buffer(ua_binary.struct_to_binary(response))

    def read(self, request: Any) -> Any:
        assert request.TypeId.Identifier == ua.ObjectIds.ReadRequest_Encoding_DefaultBinary
        assert request.Parameters.TimestampsToReturn == ua.TimestampsToReturn.Both
        asked = request.Parameters.NodesToRead
        self.read_sizes.append(len(asked))
        if len(asked) > self.largest_read:
            raise ua.UaStatusCodeError(ua.StatusCodes.BadTooManyOperations)
        assert {one.AttributeId for one in asked} == {ua.AttributeIds.Value}
        values = [ua.DataValue(ua.Variant(one.NodeId.Identifier, ua.VariantType.UInt32)) for one in asked]
        return ua.ReadResponse(Results=values[: len(values) - self.answers_missing])

    async def create_subscription(self, asked: Any, callback: object) -> Any:
        assert callback is None
        if len(self.subscriptions) == self.most_subscriptions:
            raise ua.UaStatusCodeError(ua.StatusCodes.BadTooManySubscriptions)
        number = max(self.subscriptions, default=SUBSCRIPTION - 10) + 10
        self.subscriptions[number] = set()
        return ua.CreateSubscriptionResult(
            SubscriptionId=number,
            RevisedPublishingInterval=self.interval_ms or asked.RequestedPublishingInterval,
            RevisedLifetimeCount=asked.RequestedLifetimeCount,
            RevisedMaxKeepAliveCount=asked.RequestedMaxKeepAliveCount,
        )

    async def delete_subscriptions(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            del self.subscriptions[number]

    async def update_subscription(self, asked: Any) -> Any:
        self.modified.append(asked)
        return ua.ModifySubscriptionResult(
            RevisedPublishingInterval=asked.RequestedPublishingInterval,
            RevisedLifetimeCount=asked.RequestedLifetimeCount,
            RevisedMaxKeepAliveCount=asked.RequestedMaxKeepAliveCount,
        )

    async def create_monitored_items(self, asked: Any) -> list[Any]:
        params = [item.RequestedParameters for item in asked.ItemsToCreate]
        self.asked += params
        codes = [self._code_of(it, asked.SubscriptionId) for it in params]
        return [
            ua.MonitoredItemCreateResult(
                ua.StatusCode(code), 100 + it.ClientHandle, it.SamplingInterval, it.QueueSize
            )
            for it, code in zip(params, codes, strict=True)
        ]

    def _code_of(self, params: Any, number: int) -> int:
        code = self.item_codes.get(params.ClientHandle, 0)
        if isinstance(params.Filter, ua.DataChangeFilter):
            code = self.filter_code
        if not code:
            mine, everything = self.subscriptions[number], sum(map(len, self.subscriptions.values()))
            if len(mine) >= self.largest_subscription or everything >= self.most_items:
                return int(ua.StatusCodes.BadTooManyMonitoredItems)
            mine.add(params.ClientHandle)
        return code

    async def delete_monitored_items(self, asked: Any) -> list[Any]:
        self.deleted += asked.MonitoredItemIds
        return [ua.StatusCode()] * len(asked.MonitoredItemIds)

    async def publish(self, acknowledgements: Sequence[Any]) -> Any:
        self.acknowledged.append([ack.SequenceNumber for ack in acknowledgements])
        subscription, sequence, data = self.notifications.pop(0)
        message = ua.NotificationMessage(SequenceNumber=sequence, NotificationData=data)
        return ua.PublishResponse(
            Parameters=ua.PublishResult(SubscriptionId=subscription, NotificationMessage=message)
        )

    async def call(self, requests: Sequence[Any]) -> list[Any]:
        return [ua.CallMethodResult(ua.StatusCode(ua.StatusCodes.BadMethodInvalid)) for _ in requests]

    async def open_secure_channel(self, *, renew: bool) -> None:
        assert renew
        self.renewals += 1

    def revolve_security_token(self) -> None:
        pass
