"""One unit on a line: asks, checks, and finds out which of its points the device refuses."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import cast

from edge_agent.driver import Context, Emit, Estimate, Line, Request
from edge_agent.errors import ExchangeError
from edge_agent.model import Column, DeviceId, Quality, ReadingBatch
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.decode import join_columns
from edge_agent_modbus.gaps import learn_gaps, refused_gaps
from edge_agent_modbus.pdu import ExceptionReply, read_payload
from edge_agent_modbus.plan import ReadRequest, plan_reads
from edge_agent_modbus.round_trip import RoundTrips, measured
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
}
BUSY = {5: "acknowledged the request, to be asked again", 6: "is busy"}
NO_UNIT = {10: "has no path to it", 11: "got no answer from it"}  # said by a gateway


class ModbusUnit:
    """A configured device: one unit on a line that other devices may share."""

    def __init__(self, context: Context, config: ModbusDevice) -> None:
        self.polled = tuple(range(len(config.points)))
        self.reported: tuple[int, ...] = ()
        self._context = context
        self._config = config
        self._sources = tuple(point.source(index) for index, point in enumerate(config.points))
        wire = wire_of(config)
        self._line_key = wire.key
        self._line: Line[Transport] = context.line(wire.key, wire.open, lambda transport: transport.close())

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
        return Estimate(
            self._line_key,
            speed.sent_bytes,
            speed.received_bytes(asked.table, asked.count),
            speed.exchange_ns(asked.table, asked.count) / 1e9,
            speed.baud_rate,
        )

    async def connect(self) -> "ModbusSession":
        transport = await self._line.attach()
        if transport.lost is not None:  # the next one to come throws it away, the others find out by themselves
            self._line.drop(transport)
            self._line.detach(transport)
            transport = await self._line.attach()
        return ModbusSession(self._context, self._config, self._line, transport)


class ModbusSession:
    """One unit's use of the line."""

    def __init__(
        self, context: Context, config: ModbusDevice, line: Line[Transport], transport: Transport
    ) -> None:
        self._clock = context.clock
        self._state = context.state
        self._round_trips = RoundTrips(context.state, config.speed())
        self._device: DeviceId = context.device
        self._unit = config.unit
        self._name = f"unit {config.unit} at {transport.peer}"
        self._line = line
        self._transport = transport
        self._is_attached = True
        # Looking for the refused points ends early enough for the exchange under way to be answered in time.
        self._search_s = config.timeout / 2
        # Requests that the device takes only in parts: by the points asked for, the parts.
        self._parts: dict[tuple[int, ...], tuple[ReadRequest, ...]] = {}

    async def read(self, request: Request) -> ReadingBatch:
        asked = cast("ReadRequest", request)  # ``ModbusUnit.plan`` made it
        parts = self._parts.get(asked.points)
        if parts is None:
            payload = await self._ask(asked)
            if isinstance(payload, bytes):
                return ReadingBatch(self._device, self._clock.now_ns(), asked.decode(payload))
            parts = asked.split() if payload.code in REFUSALS else ()
            if not parts:
                refused = frozenset(asked.points if payload.code in REFUSALS else ())
                return ReadingBatch(self._device, self._clock.now_ns(), (_bad(asked, payload),), refused)
            return await self._read_in_parts(asked, parts, [parts])
        return await self._read_in_parts(asked, parts, [])

    async def run(self, emit: Emit) -> None:
        raise NotImplementedError("Modbus devices report nothing by themselves")

    async def close(self) -> None:
        if self._is_attached:
            self._is_attached = False
            self._line.detach(self._transport)

    @property
    def lost(self) -> str | None:
        """Why the transport is of no use any more; None while it is."""
        return self._transport.lost

    async def exchange(self, pdu: bytes) -> bytes:
        """Send one request to the unit in a turn of its own; return the PDU of the answer, not looked into."""
        async with self._line.turn():
            return await self._transport.exchange(self._unit, pdu)

    async def _ask(self, request: ReadRequest) -> bytes | ExceptionReply:
        """Carry out one exchange; return the payload, or an exception that concerns the request's points only."""
        async with self._line.turn():
            begin_s = self._clock.monotonic_s()
            reply = await self._transport.exchange(request.unit, request.pdu)
        payload = read_payload(request.table, request.count, reply)
        if isinstance(payload, bytes):
            if not self._round_trips.is_complete:
                self._round_trips.add(self._clock.monotonic_s() - begin_s, request.table, request.count)
            return payload
        if payload.code in NO_UNIT:
            # One noisy frame on the serial side looks the same; several in a row are a lost unit.
            raise ExchangeError(
                f"{self._name}: the gateway {NO_UNIT[payload.code]} (exception {payload.code}); "
                "check unit:, and the power, cable and serial settings of the device"
            )
        if payload.code in BUSY:
            raise ExchangeError(f"{self._name} {BUSY[payload.code]} (exception {payload.code})")
        return payload

    async def _read_in_parts(
        self, request: ReadRequest, parts: Sequence[ReadRequest], splits: list[Sequence[ReadRequest]]
    ) -> ReadingBatch:
        """Read ``parts`` of a request that was refused, and split what is refused until single points are left.

        Parts for which there is no time are Bad now and come first at the next read. If no single point turns out
        to be refused (the device gives less in one reply than it should), the parts that it took are remembered.
        """
        end_s = self._clock.monotonic_s() + self._search_s
        to_ask, taken, answered = list(reversed(parts)), list[ReadRequest](), list[ReadRequest]()
        answers: list[tuple[int, Sequence[Column]]] = []
        refused: set[int] = set()
        while to_ask:
            part = to_ask.pop()
            payload = await self._ask(part)
            if isinstance(payload, bytes):
                taken.append(part)
                answered.append(part)
                answers.append((self._clock.now_ns(), part.decode(payload)))
            elif payload.code in REFUSALS and (pieces := part.split()):
                splits.append(pieces)
                to_ask += reversed(pieces)
            else:
                if payload.code in REFUSALS:
                    refused.update(part.points)
                taken.append(part)
                answers.append((self._clock.now_ns(), (_bad(part, payload),)))
            if self._clock.monotonic_s() >= end_s:
                break
        time_ns = self._clock.now_ns()
        answers += [(time_ns, (Column.bad(part.points, Quality.BAD_TIMEOUT),)) for part in to_ask]
        learn_gaps(self._state, splits, answered)
        if refused:  # the agent plans again without them
            self._parts.pop(request.points, None)
        else:
            self._parts[request.points] = (*reversed(to_ask), *taken)
        return ReadingBatch(self._device, time_ns, join_columns(answers, time_ns), frozenset(refused))


def _bad(request: ReadRequest, reply: ExceptionReply) -> Column:
    return Column.bad(request.points, REFUSALS.get(reply.code) or TROUBLES.get(reply.code, Quality.BAD))
