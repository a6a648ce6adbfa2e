"""One unit on a line: asks, checks, and finds out which of its points the device refuses."""

import math
from collections import deque
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import cast
from weakref import WeakKeyDictionary

from edge_agent.clock import Clock
from edge_agent.driver import Context, Emit, Estimate, Line, Request
from edge_agent.errors import ExchangeError
from edge_agent.model import Column, DeviceId, Quality, ReadingBatch
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.decode import join_columns
from edge_agent_modbus.dialer import peer_name
from edge_agent_modbus.gaps import Gaps, Split, refused_gaps
from edge_agent_modbus.pdu import ExceptionReply, ShortReplyError, read_payload
from edge_agent_modbus.plan import ReadRequest, plan_reads
from edge_agent_modbus.round_trip import RoundTrips, measured
from edge_agent_modbus.tls import own_end_ns
from edge_agent_modbus.transport import Transport, wire_of

# MODBUS Application Protocol V1.1b3 §7. What the device will never give as asked:
REFUSALS = {
    1: Quality.BAD_NOT_SUPPORTED,  # illegal function
    2: Quality.BAD_NODE_ID_UNKNOWN,  # illegal data address
    3: Quality.BAD_CONFIGURATION_ERROR,  # illegal data value: the quantity
}
# What is wrong with the device for now; any other code is plain BAD.
TROUBLES = {
    4: Quality.BAD_DEVICE_FAILURE,  # server device failure
    8: Quality.BAD_DEVICE_FAILURE,  # memory parity error
    0: Quality.BAD_COMMUNICATION_ERROR,  # SHORT
}
SHORT = 0  # no code of the protocol: a reply with fewer data than asked for
# Looked into: one register may be to blame for all. Many devices answer 4 for an address that they do not have.
SEARCHED = {*REFUSALS, 4, SHORT}
BUSY = {5: "acknowledged the request, to be asked again", 6: "is busy"}
NO_UNIT = {10: "has no path to it", 11: "got no answer from it"}  # said by a gateway

BUSY_PAUSE_S = 0.1
BUSY_PAUSE_MAX_S = 1.0
TROUBLED_PARTS = 28
"""So many parts in trouble, and no data in any: the device as a whole is.

Half of them are halves to eighths, which finds data beside bad points in a row; the others go down to single
points, which finds data between bad points that lie apart.
"""
TROUBLE_PAUSE_S = 30.0
"""A device in trouble is not looked into again before; then after twice as long each time, and twice as far."""
TROUBLE_PAUSE_MAX_S = 1800.0
PARTS_KEPT_S = 600.0
"""So long a request is asked in parts after the whole gave a failure or too few data: that may pass."""


class _Budget:
    """The time that one read may take for looking for refused points; waits for turns do not count."""

    def __init__(self, clock: Clock, left_s: float) -> None:
        self._clock = clock
        self.left_s = left_s

    def __enter__(self) -> None:
        self._begin_s = self._clock.monotonic_s()

    def __exit__(self, *_: object) -> None:
        self.left_s -= self._clock.monotonic_s() - self._begin_s


class ModbusUnit:
    """A configured device: one unit on a line that other devices may share."""

    def __init__(self, context: Context, config: ModbusDevice) -> None:
        self.polled = tuple(range(len(config.points)))
        self.reported: tuple[int, ...] = ()
        self._context = context
        self._sources = tuple(point.source(index) for index, point in enumerate(config.points))
        self._config = config.model_copy(
            update={"points": ()}
        )  # the sources say the same in a fifth of the memory
        wire = wire_of(self._config, context.state)
        self._line_key = wire.key
        self._gaps = Gaps(context.state, context.clock)
        self._line: Line[Transport] = context.line(
            wire.key, wire.open, lambda transport: transport.close(), station=f"unit {config.unit}"
        )

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> tuple[ReadRequest, ...]:
        return plan_reads(
            self._config.unit,
            [self._sources[index] for index in points],
            refused,
            self._config.limits,
            speed=measured(self._config.speed(), self._context.state),
            barred=refused_gaps(self._context.state),
        )

    def estimate(self, request: Request, baud_rate: int = 0) -> Estimate:
        asked = cast("ReadRequest", request)
        speed = measured(self._config.speed(baud_rate), self._context.state)
        at_once = 1 if speed.baud_rate else self._config.max_in_flight  # on a serial line there is one at a time
        return Estimate(
            self._line_key,
            speed.sent_bytes,
            speed.received_bytes(asked.table, asked.count),
            speed.exchange_ns(asked.table, asked.count) / 1e9 / at_once,
            speed.baud_rate,
        )

    async def connect(self) -> "ModbusSession":
        tls = self._config.tls
        end_ns = 0 if tls is None else await own_end_ns(tls)
        transport = await self._line.attach()
        if transport.lost is not None:  # the next one to come throws it away, the others find out by themselves
            self._line.drop(transport)
            self._line.detach(transport)
            transport = await self._line.attach()
        if tls is not None:
            self._context.expires("own", end_ns, f"renew {tls.certificate}")
            self._context.expires("server", transport.certificate_end_ns, "renew it on the device")
        return ModbusSession(self._context, self._config, self._gaps, self._line, transport)


class ModbusSession:
    """One unit's use of the line."""

    def __init__(
        self,
        context: Context,
        config: ModbusDevice,
        gaps: Gaps,
        line: Line[Transport],
        transport: Transport,
    ) -> None:
        self._clock = context.clock
        self._gaps = gaps
        self._round_trips = RoundTrips(context.state, config.speed())
        self._device: DeviceId = context.device
        self._unit = config.unit
        self._name = f"unit {config.unit} at {transport.peer}"
        self._line = line
        self._transport = transport
        self.max_in_flight = config.max_in_flight
        self._route = config.route
        self._is_attached = True
        # Looking for the refused points ends early enough for the exchange under way to be answered in time.
        self._search_s = config.timeout / 2
        # What is known of requests of the present plan; a new plan has new ones.
        self._parts: WeakKeyDictionary[ReadRequest, _Parts] = WeakKeyDictionary()
        self._troubles: WeakKeyDictionary[ReadRequest, _Trouble] = WeakKeyDictionary()

    async def read(self, request: Request) -> ReadingBatch:
        asked = cast("ReadRequest", request)  # ``ModbusUnit.plan`` made it
        budget = _Budget(self._clock, self._search_s)
        self._gaps.try_due()
        known = self._parts.get(asked)
        if known is not None and self._clock.monotonic_s() < known.until_s:
            search = _Search(deque(known.parts), until_s=known.until_s)
            return await self._read_in_parts(asked, search, budget)
        reply = await self._ask(asked, budget)
        if isinstance(reply, bytes):
            self._took(asked)
            return ReadingBatch(self._device, self._clock.now_ns(), asked.decode(reply))
        looked_into = self._search(asked, reply)
        if looked_into is None:
            refused = frozenset(asked.points if reply.code in REFUSALS else ())
            return ReadingBatch(self._device, self._clock.now_ns(), (_bad(asked, reply),), refused)
        return await self._read_in_parts(asked, looked_into, budget)

    async def run(self, emit: Emit) -> None:
        raise NotImplementedError("Modbus devices report nothing by themselves")

    async def close(self) -> None:
        if self._is_attached:
            self._is_attached = False
            self._line.detach(self._transport)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Which of several addresses is used, if it is not the first one."""
        hosts, port = self._route.hosts, self._route.port
        first = peer_name(hosts[0], port)
        if len(hosts) == 1 or self._transport.peer == first:
            return ()
        return (f"connected to {self._transport.peer}, which is a standby of {first}",)

    @property
    def lost(self) -> str | None:
        """Why the transport is of no use any more; None while it is."""
        return self._transport.lost

    async def exchange(self, pdu: bytes) -> bytes:
        """Send one request to the unit in a turn of its own; return the PDU of the answer, not looked into."""
        async with self._line.turn():
            return await self._exchange(pdu)

    async def _exchange(self, pdu: bytes) -> bytes:
        try:
            return await self._transport.exchange(self._unit, pdu)
        finally:
            self._line.limit(self._transport.places, self._transport.given_up)

    def _took(self, request: ReadRequest) -> None:
        """Forget what spoke against a request that was answered."""
        if self._gaps.tried is not None:
            self._gaps.answered(request)
        if self._parts or self._troubles:
            self._parts.pop(request, None)
            self._troubles.pop(request, None)

    def _search(self, request: ReadRequest, reply: ExceptionReply) -> "_Search | None":
        """Return how to look into a request that was refused; None if there is nothing to be found now."""
        trouble = self._troubles.get(request)
        if reply.code not in REFUSALS:
            is_due = trouble is None or self._clock.monotonic_s() >= trouble.until_s
            if reply.code not in SEARCHED or not is_due:
                return None
            if trouble is not None and trouble.search is not None:
                return trouble.search.resumed(self._clock.now_ns())
        tried = self._gaps.tried if self._gaps.is_tried_by(request) else None
        parts = request.split(None if tried is None else tried.end) or request.split()
        if not parts:
            return None
        search = _Search(deque())
        search.divide(parts, reply, self._clock.monotonic_s())
        return search

    async def _ask(self, request: ReadRequest, budget: _Budget) -> bytes | ExceptionReply:
        """Ask, and ask again while the device is busy and there is time.

        Returns:
            The payload, or an exception that concerns the request's points only.
        """
        pause_s = BUSY_PAUSE_S
        while True:
            reply = await self._ask_once(request, budget)
            if isinstance(reply, bytes) or reply.code not in BUSY:
                return reply
            if budget.left_s <= pause_s:
                raise ExchangeError(f"{self._name} {BUSY[reply.code]} (exception {reply.code})")
            with budget:
                await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, BUSY_PAUSE_MAX_S)

    async def _ask_once(self, request: ReadRequest, budget: _Budget) -> bytes | ExceptionReply:
        async with self._line.turn():
            with budget:
                begin_s = self._clock.monotonic_s()
                reply = await self._exchange(request.pdu)
        try:
            payload = read_payload(request.table, request.count, reply)
        except ShortReplyError:
            return ExceptionReply(SHORT)
        if isinstance(payload, bytes):
            if not self._round_trips.is_complete and self._transport.places == 1:
                self._round_trips.add(self._clock.monotonic_s() - begin_s, request.table, request.count)
        elif payload.code in NO_UNIT:
            # One noisy frame on the serial side looks the same; several in a row are a lost unit.
            raise ExchangeError(
                f"{self._name}: the gateway {NO_UNIT[payload.code]} (exception {payload.code}); "
                "check unit:, and the power, cable and serial settings of the device"
            )
        return payload

    async def _read_in_parts(self, request: ReadRequest, search: "_Search", budget: _Budget) -> ReadingBatch:
        """Read the parts of a request that was refused, and split what is refused until single points are left.

        Parts for which there is no time are Bad now and come first at the next read; one that gives nothing ends
        this read and comes last. If no single point turns out to be refused (the device gives less in one reply
        than it should), the parts that it took are remembered.
        """
        while search.to_ask and search.in_trouble < search.most_in_trouble and budget.left_s > 0:
            part = search.next_part()
            try:
                reply = await self._ask(part, budget)
            except ExchangeError:
                if not search.answered:
                    raise
                search.failed = (part,)
                break
            search.take(part, reply, self._clock)
        time_ns = self._clock.now_ns()
        if search.in_trouble and not search.answered:  # everywhere, so it is no point's fault
            self._note_trouble(request, search)
            column = Column.bad(request.points, Quality.BAD_DEVICE_FAILURE)
            return ReadingBatch(self._device, time_ns, (column,))
        self._troubles.pop(request, None)
        self._gaps.learn(search.splits, search.answered)
        left = (*search.to_ask, *search.failed)
        answers = [
            *search.answers,
            *((time_ns, (Column.bad(part.points, Quality.BAD_TIMEOUT),)) for part in left),
        ]
        if search.refused:  # the agent plans again without them
            self._parts.pop(request, None)
        else:
            parts = (*search.to_ask, *search.taken, *search.failed)
            self._parts[request] = _Parts(parts, search.until_s)
        return ReadingBatch(self._device, time_ns, join_columns(answers, time_ns), frozenset(search.refused))

    def _note_trouble(self, request: ReadRequest, search: "_Search") -> None:
        before = self._troubles.get(request)
        pause_s = TROUBLE_PAUSE_S if before is None else min(2 * before.pause_s, TROUBLE_PAUSE_MAX_S)
        until_s = self._clock.monotonic_s() + pause_s
        self._troubles[request] = _Trouble(pause_s, until_s, search if search.to_ask else None)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a request is asked as instead, and until when (control time)."""

    parts: tuple[ReadRequest, ...]
    until_s: float


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A request no part of which gave data: when to look into it again, and where to go on."""

    pause_s: float
    until_s: float
    search: "_Search | None"


@dataclass(slots=True)
class _Search:
    """What is known of the parts of a request.

    Attributes:
        splits: each request that was refused, as its halves.
        in_trouble: parts that were in trouble before any gave data.
        most_in_trouble: so many of them end it for now.
        failed: what ended the search.
        until_s: control time until which the parts stand for the whole, if each of them is taken.
    """

    to_ask: deque[ReadRequest]
    splits: list[Split] = field(default_factory=list)
    taken: list[ReadRequest] = field(default_factory=list)
    answered: list[ReadRequest] = field(default_factory=list)
    answers: list[tuple[int, Sequence[Column]]] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    in_trouble: int = 0
    most_in_trouble: int = TROUBLED_PARTS
    failed: tuple[ReadRequest, ...] = ()
    until_s: float = math.inf

    def next_part(self) -> ReadRequest:
        """Return the part to ask for: the next one; while none gave data, every second time the smallest one."""
        if self.answered or self.in_trouble % 2 == 0:
            return self.to_ask.popleft()
        part = min(self.to_ask, key=lambda one: len(one.sources))
        self.to_ask.remove(part)
        return part

    def resumed(self, time_ns: int) -> "_Search":
        """Return the same search, to be gone on with now, and twice as far."""
        answers = [(time_ns, columns) for _, columns in self.answers]
        most = 2 * self.most_in_trouble
        return replace(self, to_ask=self.to_ask.copy(), answers=answers, in_trouble=0, most_in_trouble=most)

    def divide(self, parts: Sequence[ReadRequest], reply: ExceptionReply, now_s: float) -> None:
        """Ask for ``parts`` instead of a request that was refused."""
        is_firm = reply.code in REFUSALS
        self.splits.append(Split(tuple(parts), is_firm))
        self.to_ask += parts
        if not is_firm:
            self.until_s = now_s + PARTS_KEPT_S

    def take(self, part: ReadRequest, reply: bytes | ExceptionReply, clock: Clock) -> None:
        """Keep what a part gave, or ask for its halves."""
        time_ns = clock.now_ns()
        if isinstance(reply, bytes):
            self.taken.append(part)
            self.answered.append(part)
            self.answers.append((time_ns, part.decode(reply)))
            return
        self.in_trouble += not self.answered and reply.code not in REFUSALS
        if reply.code in SEARCHED and (pieces := part.split()):
            self.divide(pieces, reply, clock.monotonic_s())
            return
        if reply.code in SEARCHED:
            self.refused.update(part.points)
        self.taken.append(part)
        self.answers.append((time_ns, (_bad(part, reply),)))


def _bad(request: ReadRequest, reply: ExceptionReply) -> Column:
    return Column.bad(request.points, REFUSALS.get(reply.code) or TROUBLES.get(reply.code, Quality.BAD))
