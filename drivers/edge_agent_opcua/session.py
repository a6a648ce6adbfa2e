"""One live session with an OPC UA server: cyclic reads, and subscriptions that the session publishes itself.

A session ends, and the agent connects anew, when the connection is lost, when the server says that the session
or a subscription is gone, when it is silent for longer than its keep-alive allows, and when a notification is
missing (a new session reads every point anew; see docs/adr/0003). A point that the server does not report costs no
other point, and is tried again within the session.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, NoReturn

from asyncua import ua

from edge_agent.clock import Clock
from edge_agent.driver import Context, Emit, Request
from edge_agent.errors import DeviceUnavailableError, DriverError
from edge_agent.model import Column, DeviceId, LossReason, Lost, Quality, ReadingBatch, is_bad
from edge_agent.together import together
from edge_agent_opcua.browse_path import Address
from edge_agent_opcua.conditions import Conditions
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.connection import drop, hang_up, open_connection
from edge_agent_opcua.cross_check import CrossCheck
from edge_agent_opcua.decode import OVERFLOW, Decoder
from edge_agent_opcua.event_stream import EventStream
from edge_agent_opcua.history import History
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.nodes import Nodes
from edge_agent_opcua.outage import Outage
from edge_agent_opcua.plan import Publishing, checked_points, samples_per_s, subscriptions
from edge_agent_opcua.polled import Polled
from edge_agent_opcua.profiles import excess
from edge_agent_opcua.responses import Notification
from edge_agent_opcua.resumption import Past, Resumption
from edge_agent_opcua.retries import NEVER, Retries
from edge_agent_opcua.revisions import Revisions, clocks_apart
from edge_agent_opcua.services import Services
from edge_agent_opcua.subscriptions import TOO_MANY, Subscriptions
from edge_agent_opcua.survey import Survey
from edge_agent_opcua.translation import in_time, one_exchange, whole_session
from edge_agent_opcua.wire import event_fields

CYCLES = 3  # publications and samples that a change may take before it counts as not reported


async def open_session(
    config: OpcUaDevice, nodes: Sequence[Address], context: Context, conditions: Conditions, past: Past
) -> "OpcUaSession":
    """Connect, log in, learn the server's namespaces and limits, and subscribe.

    Raises:
        DeviceUnavailableError: no session.

    On cancellation nothing stays open.
    """
    client = await open_connection(config, context)
    session = OpcUaSession(config, nodes, conditions, past, context.clock, client)
    try:
        await session.prepare(subscriptions(config))
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

    def __init__(
        self,
        config: OpcUaDevice,
        nodes: Sequence[Address],
        conditions: Conditions,
        past: Past,
        clock: Clock,
        client: Any,
    ) -> None:
        self.client = client
        self._device = DeviceId(config.id)
        self._url = config.url
        self._profile = config.profile
        self._checked_points = checked_points(config)
        self._check_interval_s = config.check_interval
        self._check = CrossCheck((), math.inf, math.inf, 0.0)
        self._margin_s = config.timeout
        self._patience_s = config.connect_timeout
        self._clock = clock
        self._past = past
        self._asked_ns = self._checked_ns = 0
        self._resumption = Resumption()
        self._services = Services(client, config.url, clock)
        self._decoder = Decoder()
        self._notifiers = conditions.wanted.keys()
        self._events = EventStream(self._device, config.url, self._services, conditions, clock)
        self._nodes = Nodes(config.url, self._services, nodes, config.points)
        history = History(
            self._device,
            config.url,
            self._services,
            self._decoder,
            past.delivered,
            clock,
            config.connect_timeout,
            config.backfill_timeout,
        )
        self._outage = Outage(self._device, past, history if config.backfill else None, self._resumption)
        self._retries = Retries(config.bad_node_retry, config.transient_retry)
        self._revisions = Revisions([point.name for point in config.points])
        self._subscriptions = Subscriptions(
            self._services, config.url, self._nodes, self._revisions, config.timeout
        )
        self._wanted: Sequence[Publishing] = ()
        self._polled = Polled()
        self._has_polled = asyncio.Event()
        self._survey = Survey(config, self._services, self._nodes)
        self._has_made_up = asyncio.Event()
        self._handling = asyncio.Lock()
        self._is_closed = False

    async def prepare(self, wanted: Sequence[Publishing]) -> None:
        """Resolve the nodes and subscribe to what is ``wanted``. Called once, before anything else."""
        with whole_session(self._url, "asking for the server's limits"):
            await self._services.learn(self._profile)
        with whole_session(self._url, "looking for the points' nodes"):
            await self._resolve()
        now_s = self._clock.monotonic_s()
        self._asked_ns = self._checked_ns = self._clock.now_ns()
        self._note_rejected(await self._subscriptions.create(wanted), now_s)
        checked = frozenset(self._checked_points)
        slowest_s = max((publishing.interval_s for publishing in wanted), default=0.0)
        everything = [item for publishing in wanted for item in publishing.items]
        sampling_s = max((item.sampling_s for item in everything), default=0.0)
        patience_s = CYCLES * (slowest_s + sampling_s) + self._margin_s
        checked_items = [item for item in everything if item.point in checked]
        self._check = CrossCheck(checked_items, self._check_interval_s, patience_s, now_s)
        self._wanted = wanted
        self._past.delivered.window_ns = round(1e9 * patience_s)

    async def read(self, request: Request) -> ReadingBatch:
        points = [point for point in request.points if self._nodes[point] is not None]
        nowhere = [point for point in request.points if self._nodes[point] is None]
        await self._services.renew_channel()
        with one_exchange(self._url, "reading"):
            answers = await self._services.read(self._nodes.operations(points))
            time_ns = self._clock.now_ns()
            statuses = dict.fromkeys(nowhere, int(Quality.BAD_NODE_ID_UNKNOWN))
            columns = self._decoder.read(time_ns, points, answers, statuses)
        return ReadingBatch(self._device, time_ns, columns)

    async def run(self, emit: Emit) -> None:
        points = self._subscriptions.points
        variables = {point: self._nodes[point] for point in self._subscriptions.variables(points)}
        await self._outage.tell(points, variables, self._asked_ns, self._services.ahead_ns, emit)
        await self._emit_statuses(emit, self._retries.statuses)
        self._begin_events(points)
        await self._events.refresh(emit, self._patience_s)
        self._subscriptions.listen(self._clock.monotonic_s(), self._asked_ns)
        async with together(DriverError) as group:
            for subscription in self._subscriptions:
                group.create_task(self._listen(emit), name=f"publish:{self._device}:{subscription.number}")
            group.create_task(self._make_up(emit), name=f"history:{self._device}")
            group.create_task(self._poll(emit), name=f"poll:{self._device}")
            await self._watch()

    async def find_points(self) -> str:
        """See ``edge_agent.driver.Finding``."""
        if self._wanted:  # what an outage left is this device's to tell, before it is built anew
            await self._has_made_up.wait()
        return (await self._survey.run()).to_text()

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await hang_up(self.client)

    @property
    def remarks(self) -> Sequence[str]:
        """See ``edge_agent.driver.Remarking``."""
        items = sum(len(publishing.items) for publishing in self._wanted)
        told = excess(self._services.profile, items, samples_per_s(self._wanted))
        apart = clocks_apart(self._services.ahead_ns / 1e9)
        return *told, *apart, *self._revisions.remarks(), *self._survey.remarks

    async def renew_channel(self) -> None:
        """Renew the channel's token, if it is time; a request that is not the session's own comes after this.

        Raises:
            DeviceUnavailableError: it could not be renewed.
        """
        await self._services.renew_channel()

    def node_id(self, point: int) -> Any:
        """Return the library's node id of a point; None where the server lacks the namespace."""
        return self._nodes[point]

    def find(self, node: NodeAddress) -> Any:
        """Return the library's node id of any other node; None where the server lacks the namespace."""
        return self._services.find(node)

    @property
    def overflows(self) -> int:
        """Readings that came with the Overflow bit so far."""
        return self._decoder.overflows + self._events.overflows

    async def _make_up(self, emit: Emit) -> None:
        """Report what the server kept of the time before this session."""
        if self._outage.nodes:
            await self._outage.fetch(emit)
        self._has_made_up.set()

    async def _listen(self, emit: Emit) -> NoReturn:
        """Keep one publish request outstanding and take what comes, in the order in which it comes.

        There are as many of these as subscriptions: a server with fewer requests than that falls behind.
        """
        acknowledgements: list[Any] = []
        while True:
            await self._services.renew_channel()
            with whole_session(self._url, "waiting for a notification"):
                told = await self._services.publish(acknowledgements)
            async with self._handling:
                began_s = self._clock.monotonic_s()
                acknowledgements = await self._take(told, emit)
                if self._subscriptions.are_heard:
                    self._outage.is_heard.set()
                await self._try_again(emit)
                await self._cross_check(emit)
                await self._events.refresh(emit, self._patience_s)
                self._subscriptions.did_not_listen(self._clock.monotonic_s() - began_s)

    async def _watch(self) -> NoReturn:
        """End the session when a subscription is silent for longer than it may."""
        while True:
            async with self._handling:
                silent, left_s = self._subscriptions.most_silent(self._clock.monotonic_s())
            if left_s <= 0:
                raise DeviceUnavailableError(
                    f"{self._url} said nothing for {silent.silence_s:.1f} s, not even that it is alive"
                )
            await self._clock.sleep(left_s)

    async def _take(self, told: Notification, emit: Emit) -> list[Any]:
        """Report what the server has to say; return what is to be acknowledged."""
        subscription = self._subscriptions.numbered(told.subscription_id)
        time_ns = self._clock.now_ns()
        subscription.heard_s = self._clock.monotonic_s()
        subscription.is_heard = True
        lost = subscription.missed(told.sequence, is_keep_alive=told.is_keep_alive)
        since_ns, subscription.heard_ns = subscription.heard_ns, time_ns
        if lost:
            about = Lost(tuple(subscription.reported), since_ns, time_ns, LossReason.MISSED, lost)
            await emit(ReadingBatch(self._device, time_ns, (), lost=(about,)))
            self._note_heard(time_ns)
            raise DeviceUnavailableError(f"{self._url}: {lost} notifications before {told.sequence} are missing")
        if told.ended is not None:
            reason = ua.StatusCode(told.ended).name
            raise DeviceUnavailableError(f"{self._url} has ended the subscription: {reason}")
        if told.is_keep_alive:
            await self._events.settle(subscription.number, emit)
            self._note_heard(time_ns)
            return []
        if told.event_lists:
            with whole_session(self._url, "reading events"):
                events = [
                    fields
                    for fields in event_fields(told)
                    if fields.ClientHandle in subscription.reported and fields.ClientHandle in self._notifiers
                ]
            await self._events.take(subscription.number, events, since_ns, emit, subscription.queue_sizes)
        with whole_session(self._url, "reading a notification"):
            variables = frozenset(subscription.reported).difference(self._notifiers)
            columns = self._decoder.changes(time_ns, told.changes, variables)
        if columns:
            self._check.note(columns)
            overflown = tuple(_overflown(columns))
            about = Lost(overflown, since_ns, time_ns, LossReason.OVERFLOW, len(overflown))
            await self._report(time_ns, columns, emit, (about,) if overflown else ())
        self._note_heard(time_ns)
        return [ua.SubscriptionAcknowledgement(subscription.number, told.sequence)]

    async def _report(
        self, time_ns: int, columns: tuple[Column, ...], emit: Emit, lost: tuple[Lost, ...] = ()
    ) -> None:
        """Pass on what the server says of points that it reports, or would if it had room for them."""
        self._outage.resume(time_ns, columns)
        columns = self._resumption.apply(columns, time_ns)
        refused = self._note_statuses(columns)
        self._outage.note(time_ns, columns)
        await emit(ReadingBatch(self._device, time_ns, columns, refused, lost))

    async def _poll(self, emit: Emit) -> NoReturn:
        """Read the points for which no subscription has room, each at its interval."""
        while True:
            await self._has_polled.wait()
            points = self._polled.due(self._clock.monotonic_s())
            known = [point for point in points if self._nodes[point] is not None]
            if points:
                await self._services.renew_channel()
                with whole_session(self._url, "reading what no subscription has room for"):
                    async with in_time(self._patience_s):
                        answers = await self._services.read(self._nodes.operations(known))
                    time_ns = self._clock.now_ns()
                    statuses = dict.fromkeys(set(points).difference(known), int(Quality.BAD_NODE_ID_UNKNOWN))
                    columns = self._decoder.read(time_ns, known, answers, statuses)
                async with self._handling:
                    await self._report(time_ns, columns, emit)
            if self._polled:
                await self._clock.sleep(max(0.0, self._polled.next_s - self._clock.monotonic_s()))
            else:
                self._has_polled.clear()

    def _note_rejected(self, rejected: Mapping[int, int], now_s: float) -> dict[int, int]:
        """Note what the server does not report, to be polled or tried again; return the statuses that are news."""
        crowded = {point for point in self._subscriptions.variables(rejected) if rejected[point] == TOO_MANY}
        for point in crowded:
            self._polled.add(point, self._subscriptions.interval_s(point), now_s)
            self._retries.passed(point)
        if crowded:
            self._has_polled.set()
        others = {point: status for point, status in rejected.items() if point not in crowded}
        return {point: status for point, status in others.items() if self._retries.failed(point, status, now_s)}

    def _note_heard(self, time_ns: int) -> None:
        self._past.heard_ns = time_ns
        self._past.complete_ns = self._subscriptions.complete_ns

    async def _try_again(self, emit: Emit) -> None:
        """Ask anew for the points that the server did not report, as far as it is time."""
        due = self._retries.due(self._clock.monotonic_s())
        if due:
            await self._emit_statuses(emit, await self._ask_anew(due))

    async def _ask_anew(self, points: Sequence[int]) -> Mapping[int, int]:
        """Ask for points as if for the first time; return the statuses, as far as news, of those not reported."""
        asked_ns = self._clock.now_ns()
        with whole_session(self._url, "subscribing anew"):
            async with in_time(self._patience_s):
                if any(self._nodes[point] is None for point in points):
                    await self._services.learn_namespaces()
                    await self._resolve()
                rejected = await self._subscriptions.ask_anew(points)
        now_s = self._clock.monotonic_s()
        accepted = set(points) - rejected.keys()
        self._resumption.expect(
            self._subscriptions.variables(accepted), self._asked_ns, asked_ns, self._services.ahead_ns
        )
        for point in accepted:
            self._retries.passed(point)
            self._polled.remove(point)
        self._begin_events(accepted)
        return self._note_rejected(rejected, now_s)

    async def _cross_check(self, emit: Emit) -> None:
        """Read what is reported, if it is time; what the server kept to itself is reported, and asked for anew."""
        points = self._check.due(self._clock.monotonic_s())
        if not points:
            return
        with whole_session(self._url, "checking what is reported"):
            async with in_time(self._patience_s):
                answers = await self._services.read(self._nodes.operations(points))
            time_ns = self._clock.now_ns()
            columns = self._decoder.read(time_ns, points, answers)
        kept = self._check.compare(columns, self._clock.monotonic_s())
        if kept:
            columns = tuple(
                column.take([i for i, point in enumerate(column.points) if point in kept]) for column in columns
            )
            told = Lost(tuple(sorted(kept)), self._checked_ns, time_ns, LossReason.MISSED, len(kept))
            await emit(ReadingBatch(self._device, time_ns, tuple(filter(len, columns)), lost=(told,)))
            await self._emit_statuses(emit, await self._ask_anew(told.points))
        self._checked_ns = time_ns

    def _begin_events(self, points: Iterable[int]) -> None:
        """Points are asked for anew: those that are events have their conditions refreshed."""
        for point in points:
            subscription = self._subscriptions.of(point)
            if self._subscriptions.items[point].events is not None and point in subscription.reported:
                self._events.begin(subscription.number, [point])

    async def _resolve(self) -> None:
        self._decoder.converters = await self._nodes.resolve()

    async def _emit_statuses(self, emit: Emit, statuses: Mapping[int, int]) -> None:
        """Report points that have a status and no value."""
        if statuses:
            time_ns = self._clock.now_ns()
            columns = self._decoder.read(time_ns, (), (), statuses)
            await emit(ReadingBatch(self._device, time_ns, columns, frozenset(_refused(columns))))

    def _note_statuses(self, columns: Iterable[Column]) -> frozenset[int]:
        """Return the points that the server reports and says at the same time that it never will."""
        refused = frozenset(_refused(columns))
        if refused or len(self._retries):
            now_s = self._clock.monotonic_s()
            for column in columns:
                statuses: Iterable[int] = column.statuses or repeat(0)
                for point, status in zip(column.points, statuses, strict=False):
                    if status in NEVER:
                        self._retries.failed(point, status, now_s)
                    elif not is_bad(status):
                        self._retries.passed(point)
        return refused


def _overflown(columns: Iterable[Column]) -> Iterable[int]:
    for column in columns:
        for point, status in zip(column.points, column.statuses or (), strict=False):
            if status & OVERFLOW == OVERFLOW:
                yield point


def _refused(columns: Iterable[Column]) -> Iterable[int]:
    for column in columns:
        for point, status in zip(column.points, column.statuses or (), strict=False):
            if status in NEVER:
                yield point
