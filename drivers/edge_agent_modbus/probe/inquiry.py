"""Questions to units, and what their answers say: values, a refusal, or nothing."""

import struct
from dataclasses import dataclass

from edge_agent.clock import Clock
from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent_modbus.pdu import ShortReplyError, Table, read_payload, read_pdu
from edge_agent_modbus.probe.way import Way

ILLEGAL_FUNCTION = 1  # MODBUS Application Protocol V1.1b3 §7
_BUSY = {5, 6}
_NO_UNIT = {10, 11}  # said by a gateway: nobody is there
_BUSY_PAUSE_S = 0.2
_BUSY_TRIES = 10
_AWAY_S = 12.0  # on RTU lines, some units that missed a request are not asked for 10 s
_MOST_LOSSES = 3  # of a wire, one behind the other


@dataclass(frozen=True, slots=True)
class Refusal:
    """A unit said no (§7), or gave less than asked for (code 0)."""

    code: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """No answer that could be used; the reason is for people."""

    reason: str


Values = tuple[int, ...]

GONE = Nothing("the unit does not answer any more")


class Inquiry:
    """Asks units, one after the other.

    Args:
        way: to the units; closed by whoever made it, and may be replaced between two questions.

    Attributes:
        requests: how many were sent.
    """

    def __init__(self, way: Way, clock: Clock) -> None:
        self.way = way
        self.requests = 0
        self._clock = clock
        self._losses = 0

    async def read(self, unit: int, table: Table, address: int, count: int) -> Values | Refusal | Nothing:
        """Read coils or registers, and ask a busy unit again.

        Raises:
            DeviceUnavailableError: the wire was lost several times in a row.
        """
        for _ in range(_BUSY_TRIES):
            reply = await self._read_once(unit, table, address, count)
            if not (isinstance(reply, Refusal) and reply.code in _BUSY):
                break
            await self._clock.sleep(_BUSY_PAUSE_S)
        else:
            return Nothing("it is busy")
        if isinstance(reply, Refusal) and reply.code in _NO_UNIT:
            return Nothing(f"the gateway says that nobody is there (exception {reply.code})")
        return reply

    async def read_surely(
        self, unit: int, table: Table, address: int, count: int, sign: tuple[Table, int]
    ) -> Values | Refusal | Nothing:
        """As ``read``, from a unit that is there: noise and slowness are told from silence.

        Args:
            unit: to ask.
            table: of it.
            address: the first one.
            count: of addresses.
            sign: what it has answered before; asked to find out whether it still does.

        Returns:
            ``Nothing`` if it answers ``sign`` and not this, or ``GONE``.
        """
        reply = await self.read(unit, table, address, count)
        if not isinstance(reply, Nothing):
            return reply
        end_s = self._clock.monotonic_s() + _AWAY_S
        while isinstance(await self.read(unit, *sign, 1), Nothing):
            if self._clock.monotonic_s() > end_s:
                return GONE
            await self._clock.sleep(_BUSY_PAUSE_S)
        return await self.read(unit, table, address, count)

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        """Send any request that reads; as ``identify`` wants it.

        Raises:
            ExchangeError: no answer.
        """
        self.requests += 1
        try:
            return await self.way.ask(unit, pdu)
        except TimeoutError:
            raise ExchangeError("no answer") from None

    async def _read_once(self, unit: int, table: Table, address: int, count: int) -> Values | Refusal | Nothing:
        self.requests += 1
        try:
            reply = await self.way.ask(unit, read_pdu(table, address, count))
            payload = read_payload(table, count, reply)
        except TimeoutError:
            return Nothing("no answer")
        except ShortReplyError:
            return Refusal(0)
        except ExchangeError as exc:
            return Nothing(str(exc))
        except DeviceUnavailableError as exc:
            self._losses += 1
            if self._losses >= _MOST_LOSSES:
                raise
            return Nothing(str(exc))
        self._losses = 0
        return _values(table, count, payload) if isinstance(payload, bytes) else Refusal(payload.code)


def _values(table: Table, count: int, payload: bytes) -> Values:
    if table.has_bits:
        return tuple(payload[at // 8] >> at % 8 & 1 for at in range(count))  # §6.1: the least significant first
    return struct.unpack(f">{count}H", payload)
