"""What an integrator writes of a Modbus device."""

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from edge_agent.driver import DeviceModel, PointModel
from edge_agent_modbus.decode import ByteOrder, Source, ValueType
from edge_agent_modbus.pdu import ADDRESSES, MAX_COILS, MAX_REGISTERS, Table

_TABLE_OF_DIGIT = {"0": Table.COIL, "1": Table.DISCRETE, "3": Table.INPUT, "4": Table.HOLDING}
_TYPES = {value_type.word: value_type for value_type in ValueType} | {
    "int": ValueType.INT16, "uint": ValueType.UINT16, "word": ValueType.UINT16,
    "dint": ValueType.INT32, "udint": ValueType.UINT32, "dword": ValueType.UINT32,
    "lint": ValueType.INT64, "ulint": ValueType.UINT64, "lword": ValueType.UINT64,
    "real": ValueType.FLOAT32, "lreal": ValueType.FLOAT64,
}  # fmt: skip
_MAX_LENGTH_BYTES = 2 * MAX_REGISTERS
_WAYS = "register, holding, input, coil or discrete"


def parse_register(number: int | str) -> tuple[Table, int]:
    """Return the table and 0-based address of a data-model number: ``40001`` is the first holding register.

    Raises:
        ValueError: it is none.
    """
    text = str(number)
    if not re.fullmatch(r"[0134][0-9]{4,5}", text, re.ASCII):
        hint = f'; a coil number needs quotes: "{text:>05}"' if len(text) < 5 and text.isdecimal() else ""  # noqa: PLR2004
        raise ValueError(
            f"{text} is not a data-model number: write 5 or 6 digits of which the first names the table "
            f"(0 coil, 1 discrete input, 3 input register, 4 holding register) such as 40001 or 400001, "
            f"or the 0-based address as holding:, input:, coil: or discrete:{hint}"
        )
    position = int(text[1:])
    if not 1 <= position <= ADDRESSES:
        raise ValueError(f"{text} is outside of its table: data-model numbers count from 1 to {ADDRESSES}")
    return _TABLE_OF_DIGIT[text[0]], position - 1


def _check_register(number: int | str) -> int | str:
    parse_register(number)
    return number


def _parse_type(word: object) -> object:
    if not isinstance(word, str):
        return word
    try:
        return _TYPES[word.lower()]
    except KeyError:
        known = [value_type.word for value_type in ValueType]
        known += [name.upper() for name in _TYPES if name not in known]
        close = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        raise ValueError(f"unknown type {word!r}; {hint}") from None


def _check_host(host: str) -> str:
    if not host or re.search(r"[\s/\[\]]", host) or host.count(":") == 1:  # an IPv6 address has two or more
        raise ValueError(f"{host!r} is not a host; write the name or address alone, and the port in port:")
    return host


Address = Annotated[int, Field(ge=0, lt=ADDRESSES)]


class ModbusPoint(PointModel):
    """One value: where it lies and how it is made of coils or registers."""

    register_: Annotated[int | str, AfterValidator(_check_register)] | None = Field(
        default=None,
        alias="register",
        description="1-based data-model number, 5 or 6 digits: 40001 or 400001 holding register, 30001 input "
        'register, 10001 discrete input, "00001" coil (in quotes: YAML drops leading zeros).',
    )
    holding: Address | None = Field(default=None, description="0-based address of a holding register.")
    input: Address | None = Field(default=None, description="0-based address of an input register.")
    coil: Address | None = Field(default=None, description="0-based address of a coil.")
    discrete: Address | None = Field(default=None, description="0-based address of a discrete input.")
    type: Annotated[
        ValueType | None,
        BeforeValidator(_parse_type),
        WithJsonSchema({"type": "string", "pattern": f"^(?i:{'|'.join(_TYPES)})$"}),
    ] = Field(
        default=None,
        description="bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, string, bytes, or the "
        "IEC 61131-3 name (INT, DWORD, REAL …). Coils, discrete inputs and `bit:` are bool.",
    )
    bit: int | None = Field(
        default=None, ge=0, le=15, description="One bit of a register, 0 is the least significant; makes a bool."
    )
    length: int | None = Field(
        default=None,
        ge=1,
        le=_MAX_LENGTH_BYTES,
        description="Size of a string or bytes, in bytes: two a register.",
    )
    byte_order: Annotated[ByteOrder, Field(strict=False)] = Field(
        default=ByteOrder.ABCD,
        description="How the bytes arrive: ABCD as the standard has it, CDAB registers in reverse order, "
        "BADC bytes of each register swapped, DCBA both.",
    )
    scale: float = Field(default=1.0, allow_inf_nan=False, description="Factor; makes a float64.")
    offset: float = Field(default=0.0, allow_inf_nan=False, description="Added after the factor; makes a float64.")

    @property
    def place(self) -> tuple[Table, int]:
        """The table and the 0-based address."""
        if self.register_ is not None:
            return parse_register(self.register_)
        return next((table, address) for table, address in self._addresses() if address is not None)

    def source(self, index: int) -> Source:
        """Return the point as the planner and the decoder see it."""
        table, address = self.place
        return Source(
            index,
            table,
            address,
            self.type or ValueType.BOOL,
            self.byte_order,
            self.bit or 0,
            self.length or 0,
            self.scale,
            self.offset,
        )

    def _addresses(self) -> list[tuple[Table, int | None]]:
        return [
            (Table.HOLDING, self.holding),
            (Table.INPUT, self.input),
            (Table.COIL, self.coil),
            (Table.DISCRETE, self.discrete),
        ]

    @model_validator(mode="after")
    def _check(self) -> Self:
        ways = [self.register_, *(address for _, address in self._addresses())]
        written = sum(way is not None for way in ways)
        if written != 1:
            raise ValueError(f"write exactly one of {_WAYS}; this point has {written or 'none'}")
        table, address = self.place
        if table.has_bits:
            self._check_bit_table(table)
        else:
            self._check_register_table(table)
        if self.source(0).end > ADDRESSES:
            raise ValueError(f"the value reaches beyond address {ADDRESSES - 1}: it begins at {address}")
        return self

    def _check_bit_table(self, table: Table) -> None:
        if self.type not in {None, ValueType.BOOL}:
            raise ValueError(f"a {table.word} holds one bit: leave type out")
        self._refuse_unless_default("bit", "length", "byte_order", "scale", "offset", of=f"a {table.word}")

    def _check_register_table(self, table: Table) -> None:
        if self.bit is not None:
            if self.type not in {None, ValueType.BOOL}:
                raise ValueError("bit: makes a bool: leave type out, or leave bit out")
            self._refuse_unless_default("length", "byte_order", "scale", "offset", of="a bit")
        elif self.type is None:
            raise ValueError(f"a {table.word} register does not say what it means: write type:, such as uint16")
        elif self.type is ValueType.BOOL:
            raise ValueError("which bit of the register? write bit: 0 (the least significant) to 15")
        elif self.type.is_number:
            self._refuse_unless_default("length", of=f"a number of type {self.type.word}")
        else:
            self._refuse_unless_default("scale", "offset", of=self.type.word)
            if self.length is None:
                raise ValueError(f"type {self.type.word} needs length: in bytes, such as 20 (10 registers)")
            if self.byte_order not in {ByteOrder.ABCD, ByteOrder.BADC}:
                raise ValueError(f"a {self.type.word} has no word order: byte_order is ABCD or BADC")
        if self.scale == 0:
            raise ValueError("scale: 0 would make every value the same")

    def _refuse_unless_default(self, *keys: str, of: str) -> None:
        for key in keys:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: has no meaning for {of}: leave it out")


class ModbusDevice(DeviceModel):
    """One unit behind a TCP socket. Devices with the same host and port share the socket."""

    host: Annotated[str, AfterValidator(_check_host)] = Field(
        description="Name or IP address (v4, v6) of the device, or of the gateway that it is behind."
    )
    port: int = Field(default=502, ge=1, le=65535, description="TCP port.")
    unit: int = Field(
        default=1,
        ge=0,
        le=255,
        description="Unit identifier: the station behind a gateway; most devices with a socket of their own "
        "take 1, 0 or 255.",
    )
    max_registers: int = Field(
        default=MAX_REGISTERS,
        ge=1,
        le=MAX_REGISTERS,
        description="Most registers in one request; the standard allows 125, some devices take fewer.",
    )
    max_coils: int = Field(
        default=MAX_COILS, ge=1, le=MAX_COILS, description="Most coils or discrete inputs in one request."
    )
    points: Sequence[ModbusPoint] = Field(min_length=1, max_length=65535, description="What to read.")

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        for index, point in enumerate(self.points):
            source = point.source(index)
            if not source.table.has_bits and source.size > self.max_registers:
                raise ValueError(
                    f"point {point.name} has {source.size} registers, which is more than max_registers: "
                    f"{self.max_registers}; a value is never read in pieces"
                )
        return self
