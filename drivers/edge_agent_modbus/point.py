"""What an integrator writes of a Modbus point."""

import difflib
import re
from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic.fields import FieldInfo

from edge_agent.driver import PointModel
from edge_agent_modbus.pdu import ADDRESSES, MAX_REGISTERS, Table
from edge_agent_modbus.source import ByteOrder, Encoding, Source, ValueType
from edge_agent_modbus.times import FORMS

_TABLE_OF_DIGIT = {"0": Table.COIL, "1": Table.DISCRETE, "3": Table.INPUT, "4": Table.HOLDING}
_TYPES = {value_type.word: value_type for value_type in ValueType} | {
    "sint": ValueType.INT8, "usint": ValueType.UINT8, "byte": ValueType.UINT8,
    "int": ValueType.INT16, "uint": ValueType.UINT16, "word": ValueType.UINT16,
    "dint": ValueType.INT32, "udint": ValueType.UINT32, "dword": ValueType.UINT32,
    "lint": ValueType.INT64, "ulint": ValueType.UINT64, "lword": ValueType.UINT64,
    "real": ValueType.FLOAT32, "lreal": ValueType.FLOAT64,
}  # fmt: skip
_MAX_LENGTH_BYTES = 2 * MAX_REGISTERS
_IN_ANY_CASE = "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word) for word in _TYPES)
_TYPE_SCHEMA: dict[str, Any] = {
    "anyOf": [  # the words, for completion in an editor; and any of them in capitals
        {"enum": [word if word in {kind.word for kind in ValueType} else word.upper() for word in _TYPES]},
        {"type": "string", "pattern": f"^({_IN_ANY_CASE})$"},
    ]
}
_WAYS = "register, holding, input, coil or discrete"
# What of a point says how its registers are read; which of it makes sense depends on the type.
_MEANING = (
    "bit", "byte", "length", "encoding", "byte_order", "mask", "invalid", "scale", "offset", "valid", "labels",
    "bits", "time_zone",
)  # fmt: skip
_LARGEST = {ValueType.FLOAT16: 65504.0, ValueType.FLOAT32: 3.4028234663852886e38, ValueType.FLOAT64: float("inf")}


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


def _check_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError) as exc:  # unknown, or no zone database on this machine
        raise ValueError(
            f"{name!r} is not a time zone of this machine; write UTC or an IANA name such as Asia/Shanghai"
        ) from exc
    return name


Address = Annotated[int, Field(ge=0, lt=ADDRESSES)]
Label = Annotated[str, StringConstraints(min_length=1)]
BitName = Annotated[str, StringConstraints(pattern=r"^[^|]+$")]


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
    type: Annotated[ValueType | None, BeforeValidator(_parse_type), WithJsonSchema(_TYPE_SCHEMA)] = Field(
        default=None,
        description="What the registers mean: a number (int16, float32 …, or the IEC 61131-3 name: INT, REAL …), "
        "bcd16, string, bytes, or a form of time. Coils, discrete inputs and `bit:` are bool.",
    )
    bit: int | None = Field(
        default=None, ge=0, le=15, description="One bit of a register, 0 is the least significant; makes a bool."
    )
    byte: Literal["high", "low"] | None = Field(
        default=None, description="Which half of the register an int8 or uint8 is; default: low."
    )
    length: int | None = Field(
        default=None,
        ge=1,
        le=_MAX_LENGTH_BYTES,
        description="Size of a string or bytes, in bytes: two a register.",
    )
    encoding: Annotated[Encoding, Field(strict=False)] = Field(
        default=Encoding.UTF_8, description="Characters of a string: utf-8, ascii, latin-1 or gbk."
    )
    byte_order: Annotated[ByteOrder, Field(strict=False)] = Field(
        default=ByteOrder.ABCD,
        description="How the bytes arrive: ABCD as the standard has it, CDAB registers in reverse order, "
        "BADC bytes of each register swapped, DCBA both.",
    )
    mask: int | None = Field(
        default=None, ge=1, description="The bits of an unsigned number that count; the lowest one becomes bit 0."
    )
    invalid: Sequence[int | float] = Field(
        default=(), description="Numbers by which the device says that it has no value: the reading is Bad."
    )
    scale: float = Field(default=1.0, allow_inf_nan=False, description="Factor; makes a float64.")
    offset: float = Field(default=0.0, allow_inf_nan=False, description="Added after the factor; makes a float64.")
    valid: Annotated[Sequence[float], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="The least and the most that is plausible, after scale and offset; beyond, the reading keeps "
        "its value and is Uncertain.",
    )
    labels: dict[int, Label] = Field(
        default_factory=dict, description="Text for each number (or 0 and 1 of a bit); the reading is the text."
    )
    bits: dict[int, BitName] = Field(
        default_factory=dict,
        description="Name for each bit of a number, 0 is the least significant; the reading is a text with the "
        "names of the bits that are set, with | between them.",
    )
    time_zone: Annotated[str, AfterValidator(_check_time_zone)] = Field(
        default="UTC", description="Zone of a time that the device keeps as local time, such as Asia/Shanghai."
    )

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
            high_byte=self.byte == "high",
            mask=self.mask or 0,
            invalid=tuple(self.invalid),
            valid=None if self.valid is None else (self.valid[0], self.valid[1]),
            labels=tuple(self.labels.items()),
            bit_names=tuple(self.bits.items()),
            encoding=self.encoding,
            time_zone=self.time_zone,
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
        self._allow("labels", of=f"a {table.word}")
        self._check_labels(0, 1)

    def _check_register_table(self, table: Table) -> None:
        if self.bit is not None:
            if self.type not in {None, ValueType.BOOL}:
                raise ValueError("bit: makes a bool: leave type out, or leave bit out")
            self._allow("bit", "labels", of="a bit")
            self._check_labels(0, 1)
        elif self.type is None:
            raise ValueError(f"a {table.word} register does not say what it means: write type:, such as uint16")
        elif self.type is ValueType.BOOL:
            raise ValueError("which bit of the register? write bit: 0 (the least significant) to 15")
        elif self.type.is_number:
            self._check_number(self.type)
        elif self.type.is_time:
            zone = ("time_zone",) if FORMS[self.type].is_local else ()
            self._allow("byte_order", *zone, of=f"a time of type {self.type.word}")
        else:
            coded = ("encoding",) if self.type is ValueType.STRING else ()
            self._allow("byte_order", "length", *coded, of=self.type.word)
            if self.length is None:
                raise ValueError(f"type {self.type.word} needs length: in bytes, such as 20 (10 registers)")

    def _check_number(self, kind: ValueType) -> None:
        of = f"a number of type {kind.word}"
        keys = ["invalid", "scale", "offset", "valid"]
        keys += ["byte"] if kind in {ValueType.INT8, ValueType.UINT8} else ["byte_order"]
        if kind.is_integer:
            keys += ["labels", "bits"]
        if kind.is_integer and kind.format_char.isupper() and not kind.is_bcd:
            keys += ["mask"]
        self._allow(*keys, of=of)
        if self.labels or self.bits:
            self._refuse("scale", "offset", "valid", *(["bits"] if self.labels else []), of="a text")
        if self.scale == 0:
            raise ValueError("scale: 0 would make every value the same")
        if self.mask is not None and self.mask >> kind.bits:
            raise ValueError(f"mask: {self.mask:#x} has more than the {kind.bits} bits of {kind.word}")
        if self.valid is not None and self.valid[0] >= self.valid[1]:
            raise ValueError("valid: the least comes first, then the most")
        self._check_invalid(kind)
        self._check_labels(-(1 << kind.bits - 1), (1 << kind.bits) - 1)
        if any(not 0 <= bit < kind.bits for bit in self.bits):
            raise ValueError(f"bits: {kind.word} has the bits 0 to {kind.bits - 1}")

    def _check_invalid(self, kind: ValueType) -> None:
        for marker in self.invalid:
            if kind.is_integer:
                if not isinstance(marker, int) or not -(1 << kind.bits - 1) <= marker < 1 << kind.bits:
                    raise ValueError(
                        f"invalid: {marker} is no {kind.word}; write the number before scale and offset"
                    )
            elif not isfinite(marker) or abs(marker) > _LARGEST[kind]:
                raise ValueError(f"invalid: {marker} is no finite {kind.word}; NaN and infinities are Bad anyway")

    def _check_labels(self, least: int, most: int) -> None:
        for number in self.labels:
            if not least <= number <= most:
                raise ValueError(f"labels: {number} never comes: the numbers are {least} to {most}")

    def _allow(self, *keys: str, of: str) -> None:
        self._refuse(*(key for key in _MEANING if key not in keys), of=of)

    def _refuse(self, *keys: str, of: str) -> None:
        for key in keys:
            if key in self.model_fields_set and getattr(self, key) != _default(type(self).model_fields[key]):
                raise ValueError(f"{key}: has no meaning for {of}: leave it out")


def _default(field: FieldInfo) -> object:
    return field.get_default(call_default_factory=True)
