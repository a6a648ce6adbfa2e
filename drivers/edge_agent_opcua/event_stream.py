"""The events of one session: each becomes a reading; conditions are refreshed where some may be missing."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asyncua import ua

from edge_agent.clock import Clock
from edge_agent.driver import Emit
from edge_agent.model import Column, DataType, DeviceId, LossReason, Lost, Quality, ReadingBatch
from edge_agent_opcua.conditions import Conditions
from edge_agent_opcua.decode import OVERFLOW
from edge_agent_opcua.event import (
    CONDITION,
    QUEUE_OVERFLOW,
    REFRESH_END,
    REFRESH_REQUIRED,
    REFRESH_START,
    Event,
    decode,
    name_of,
    to_text,
)
from edge_agent_opcua.services import Services
from edge_agent_opcua.translation import in_time, whole_session

MAX_NAMES = 10_000  # of types of events that are remembered
_CONDITION_REFRESH = 3875  # OPC 10000-9 §5.5.7; the identifier: NodeIds.csv of the standard


class _Readings:
    """Readings of one batch, in the order of their events."""

    def __init__(self, time_ns: int, since_ns: int = 0) -> None:
        self.time_ns = time_ns
        self._since_ns = since_ns
        self._lost: list[Lost] = []
        self._points: list[int] = []
        self._texts: list[str] = []
        self._statuses: list[int] = []
        self._offsets_ns: list[int] = []
        self._lags_ns: list[int] = []

    def __len__(self) -> int:
        return len(self._points)

    def add(self, point: int, text: str, status: int = 0, event: Event | None = None) -> None:
        """Add a reading; of an event, with its times as a value's: when it happened, then when it was received."""
        times_ns = () if event is None else (event.time_ns, event.received_ns)
        told_ns = [time_ns for time_ns in times_ns if time_ns is not None] or [self.time_ns]
        self._points.append(point)
        self._texts.append(text)
        self._statuses.append(status)
        self._offsets_ns.append(told_ns[0] - self.time_ns)
        self._lags_ns.append(told_ns[-1] - told_ns[0])

    def lose(self, point: int, events: int = 1) -> None:
        """Say that events of a point before this one are missing: so many at the least."""
        self._lost.append(Lost((point,), self._since_ns, self.time_ns, LossReason.OVERFLOW, events))

    def batch(self, device: DeviceId) -> ReadingBatch:
        statuses = array("I", self._statuses) if any(self._statuses) else None
        offsets_ns = array("q", self._offsets_ns)
        lags_ns = array("q", self._lags_ns) if any(self._lags_ns) else None
        column = Column(DataType.STRING, array("H", self._points), self._texts, statuses, offsets_ns, lags_ns)
        return ReadingBatch(device, self.time_ns, (column,), lost=tuple(self._lost))


class EventStream:
    """Made for each session.

    Attributes:
        overflows: how often the server said that its queue gave up events.
    """

    def __init__(
        self, device: DeviceId, url: str, services: Services, conditions: Conditions, clock: Clock
    ) -> None:
        self.overflows = 0
        self._device = device
        self._url = url
        self._services = services
        self._conditions = conditions
        self._clock = clock
        self._names: dict[Any, str] = {}
        self._due: dict[int, set[int]] = {}
        self._waiting: dict[int, set[int]] = {}
        conditions.lost()

    def begin(self, subscription: int, points: Iterable[int]) -> None:
        """Points of a subscription are reported, anew or for the first time: refresh their conditions."""
        self._due.setdefault(subscription, set()).update(points)

    async def take(
        self, subscription: int, lists: Sequence[Any], since_ns: int, emit: Emit, queue_sizes: Mapping[int, int]
    ) -> None:
        """Report the events of one notification.

        On cancellation what was not reported of conditions is told by the next refresh.

        Args:
            subscription: the server's number.
            lists: the library's EventFieldLists.
            since_ns: what the server had to say until then has come.
            emit: as of ``Session.run``.
            queue_sizes: how many events the server keeps of a point.
        """
        readings = _Readings(self._clock.now_ns(), since_ns)
        if self._services.profile.drops_events_in_silence:
            for point, count in Counter(int(fields.ClientHandle) for fields in lists).items():
                if 0 < queue_sizes.get(point, 0) <= count:
                    self._overflow(subscription, point, readings, 0)
        for fields in lists:
            point = int(fields.ClientHandle)
            more = self._conditions.wanted[point].more
            event = decode(fields.EventFields or (), self._services.namespaces, more)
            await self._take(subscription, point, event, readings)
        await self._emit(readings, emit)

    async def settle(self, subscription: int, emit: Emit) -> None:
        """The server has no more to say: a refresh that it has not ended is over all the same."""
        readings = _Readings(self._clock.now_ns())
        for point in self._waiting.pop(subscription, ()):
            self._conditions.abandon(point)
            readings.add(point, to_text("InSync", {}))
        await self._emit(readings, emit)

    async def refresh(self, emit: Emit, within_s: float) -> None:
        """Ask for the conditions, where it is due; each answer has to come ``within_s`` seconds."""
        for subscription in list(self._due):
            with whole_session(self._url, "refreshing conditions"):
                async with in_time(within_s):
                    status = await self._ask(subscription)
            if status == ua.StatusCodes.BadRefreshInProgress:
                continue  # another client's: with the next notification
            points = self._due.pop(subscription)
            if ua.StatusCode(status).is_good():
                self._waiting.setdefault(subscription, set()).update(points)
                continue
            readings = _Readings(self._clock.now_ns())
            for point in points:
                readings.add(point, to_text("InSync", {}))
            await self._emit(readings, emit)

    async def _take(self, subscription: int, point: int, event: Event, readings: _Readings) -> None:
        kind = event.standard_type
        if kind == REFRESH_START:
            self._conditions.begin(point)
        elif kind == REFRESH_END:
            self._end(subscription, point, readings)
        elif kind == REFRESH_REQUIRED:
            self.begin(subscription, [point])
        elif kind == QUEUE_OVERFLOW:
            self._overflow(subscription, point, readings, 1)
            readings.add(point, to_text("EventQueueOverflowEventType", event.fields), OVERFLOW, event)
        else:
            name = await self._name(event.type_id)
            if self._conditions.take(point, name, event):
                readings.add(point, to_text(name, event.fields), Quality.GOOD, event)

    def _overflow(self, subscription: int, point: int, readings: _Readings, events: int) -> None:
        """The server gave up ``events`` of a point at the least; 0: nobody can say whether any."""
        self.overflows += 1
        readings.lose(point, events)
        waiting = self._waiting.get(subscription, set())
        if (
            point in waiting
        ):  # a refresh told too much: what it left out has not ended, and another one would again
            waiting.remove(point)
            self._conditions.abandon(point)
            readings.add(point, to_text("InSync", {}))
        else:
            self.begin(subscription, [point])

    def _end(self, subscription: int, point: int, readings: _Readings) -> None:
        waiting = self._waiting.get(subscription, set())
        if point not in waiting:  # another client's refresh: whether all of it was sent here, nobody knows
            self._conditions.abandon(point)
            return
        waiting.remove(point)
        for told in self._conditions.end(point):
            fields = dict(told)
            readings.add(point, to_text(str(fields.pop("event_type")), fields), Quality.UNCERTAIN)
        readings.add(point, to_text("InSync", {"retained": self._conditions.retained(point)}))

    async def _emit(self, readings: _Readings, emit: Emit) -> None:
        try:
            if len(readings):
                await emit(readings.batch(self._device))
        except BaseException:
            self._conditions.undo()
            raise
        self._conditions.keep()

    async def _ask(self, subscription: int) -> int:
        number = ua.Variant(subscription, ua.VariantType.UInt32)
        request = ua.CallMethodRequest(ua.NodeId(CONDITION), ua.NodeId(_CONDITION_REFRESH), [number])
        results = await self._services.client.uaclient.call([request])
        return int(results[0].StatusCode.value)

    async def _name(self, type_id: Any) -> str:
        """Return what a type of events is called; each is asked for once."""
        if type_id is None:
            return "BaseEventType"
        known = self._names.get(type_id)
        if known is None:
            with whole_session(self._url, "asking for a type of events"):
                (told,) = await self._services.client.uaclient.read_attributes(
                    [type_id], ua.AttributeIds.BrowseName
                )
            name = told.Value.Value if told.Value is not None else None
            if isinstance(name, ua.QualifiedName) and name.Name:
                known = str(name.Name)
            else:
                known = name_of(type_id, self._services.namespaces)
            if len(self._names) < MAX_NAMES:
                self._names[type_id] = known
        return known
