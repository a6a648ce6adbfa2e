"""Writes one point: sent once, its echo compared, read back.

Source: MODBUS Application Protocol Specification V1.1b3 §6.5, §6.6, §6.11, §6.12, §6.16, §7.
"""

from dataclasses import dataclass

from edge_agent.errors import DriverError
from edge_agent.writing import WriteOutcome, WriteResult
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.encode import Value, encode, part_of_register
from edge_agent_modbus.pdu import (
    ExceptionReply,
    Table,
    check_echo,
    mask_write_pdu,
    read_payload,
    read_pdu,
    write_coil_pdu,
    write_coils_pdu,
    write_register_pdu,
    write_registers_pdu,
)
from edge_agent_modbus.session import ModbusSession
from edge_agent_modbus.source import Source

# §7. After any other exception (4: failed in the middle of it; 5: still at it; 11: the unit behind the gateway was
# asked and did not answer) it is open what the device has done.
_NOTHING_WAS_DONE = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    6: "busy",
    10: "the gateway has no path to the unit",
}
_REGISTER_BYTES = 2


@dataclass(frozen=True, slots=True)
class WriteOrder:
    """What is sent, and how it reads back.

    Attributes:
        payload: of the answer to reading the point again, as far as ``mask`` goes.
        mask: the bits of it that were written.
    """

    pdu: bytes
    table: Table
    address: int
    count: int
    payload: bytes
    mask: int


def plan_write(source: Source, value: Value, *, singly: bool = True) -> WriteOrder:
    """Return the one request that writes ``value``, and touches nothing else.

    A part of a register goes by mask write (function 22); nothing is read, changed here and written back, because
    the device may change the rest meanwhile. Without ``singly``, one coil or register goes by functions 15 and 16
    too: some devices have only these.

    Raises:
        ValueError: the point cannot be written, or not with this value.
    """
    if source.table in {Table.INPUT, Table.DISCRETE}:
        raise ValueError(f"a {source.table.word} point cannot be written: the device gives it to be read only")
    registers = encode(source, value)
    if source.table is Table.COIL:
        is_on = bool(registers[0])
        pdu = write_coil_pdu(source.address, is_on) if singly else write_coils_pdu(source.address, [is_on])
        return WriteOrder(pdu, source.table, source.address, 1, registers, 1)
    part = part_of_register(source)
    if part is not None:
        pdu = mask_write_pdu(source.address, part, int.from_bytes(registers))
    elif len(registers) == _REGISTER_BYTES and singly:
        pdu = write_register_pdu(source.address, registers)
    else:
        pdu = write_registers_pdu(source.address, registers)
    mask = (1 << 8 * len(registers)) - 1 if part is None else part
    return WriteOrder(pdu, source.table, source.address, source.size, registers, mask)


class ModbusWriter:
    """Writes points of one device over its live session."""

    def __init__(self, config: ModbusDevice, session: ModbusSession, *, singly: bool = True) -> None:
        self._config = config
        self._session = session
        self._singly = singly

    async def write(self, point: int, value: Value) -> WriteResult:
        try:
            order = plan_write(self._config.points[point].source(point), value, singly=self._singly)
        except ValueError as error:
            return WriteResult(WriteOutcome.REFUSED, str(error))
        if self._session.lost is not None:
            return WriteResult(WriteOutcome.FAILED, f"nothing was sent: {self._session.lost}")
        try:
            refusal = check_echo(order.pdu, await self._session.exchange(order.pdu))
        except DriverError as error:
            return WriteResult(WriteOutcome.UNKNOWN, str(error))
        if refusal is not None:
            return _refused(refusal)
        return await self._read_back(order)

    async def _read_back(self, order: WriteOrder) -> WriteResult:
        try:
            reply = await self._session.exchange(read_pdu(order.table, order.address, order.count))
            payload = read_payload(order.table, order.count, reply)
        except DriverError as error:
            return WriteResult(WriteOutcome.UNKNOWN, f"the device took it; reading it back: {error}")
        if isinstance(payload, ExceptionReply):
            reason = f"the device took it; reading it back gave exception {payload.code}"
            return WriteResult(WriteOutcome.UNKNOWN, reason)
        if (int.from_bytes(payload) ^ int.from_bytes(order.payload)) & order.mask:
            reason = f"the device took {order.payload.hex(' ')} and holds {payload.hex(' ')}"
            return WriteResult(WriteOutcome.FAILED, reason)
        return WriteResult(WriteOutcome.DONE)


def _refused(reply: ExceptionReply) -> WriteResult:
    reason = _NOTHING_WAS_DONE.get(reply.code)
    if reason is None:
        return WriteResult(WriteOutcome.UNKNOWN, f"the device answered with exception {reply.code}")
    return WriteResult(WriteOutcome.REFUSED, f"the device said no: exception {reply.code}, {reason}")
