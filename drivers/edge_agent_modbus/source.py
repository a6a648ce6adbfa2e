"""Where the value of a point lies and what its registers mean. Pure.

Byte order. The bytes of a value arrive in the order A B C D (E F G H) if the device keeps to the standard.
Two things can be different, alone or together: the two bytes of each register are swapped (BADC), the registers
come last one first (CDAB), or both (DCBA).
"""

from array import array
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import isfinite

from edge_agent.model import DataType
from edge_agent_modbus.pdu import Table


class ValueType(Enum):
    """What the registers of a point mean; the value is ``(word, data type, struct format, registers)``.

    The struct format is that of the field in a payload: ``s`` is taken as bytes and made a value afterwards.
    """

    BOOL = ("bool", DataType.BOOL, "H", 1)
    INT8 = ("int8", DataType.INT8, "b", 1)
    UINT8 = ("uint8", DataType.UINT8, "B", 1)
    INT16 = ("int16", DataType.INT16, "h", 1)
    UINT16 = ("uint16", DataType.UINT16, "H", 1)
    INT32 = ("int32", DataType.INT32, "i", 2)
    UINT32 = ("uint32", DataType.UINT32, "I", 2)
    INT64 = ("int64", DataType.INT64, "q", 4)
    UINT64 = ("uint64", DataType.UINT64, "Q", 4)
    FLOAT16 = ("float16", DataType.FLOAT32, "e", 1)
    FLOAT32 = ("float32", DataType.FLOAT32, "f", 2)
    FLOAT64 = ("float64", DataType.FLOAT64, "d", 4)
    BCD16 = ("bcd16", DataType.UINT16, "H", 1)
    BCD32 = ("bcd32", DataType.UINT32, "I", 2)
    BCD64 = ("bcd64", DataType.UINT64, "Q", 4)
    STRING = ("string", DataType.STRING, "s", 0)
    BYTES = ("bytes", DataType.BYTES, "s", 0)
    UNIX_SECONDS = ("unix_seconds", DataType.STRING, "s", 2)
    UNIX_SECONDS64 = ("unix_seconds64", DataType.STRING, "s", 4)
    UNIX_MILLISECONDS = ("unix_milliseconds", DataType.STRING, "s", 4)
    TIME_BCD = ("time_bcd", DataType.STRING, "s", 3)
    TIME_BYTES = ("time_bytes", DataType.STRING, "s", 3)
    TIME_REGISTERS = ("time_registers", DataType.STRING, "s", 6)
    TIME_IEC870 = ("time_iec870", DataType.STRING, "s", 4)
    S7_DATE_AND_TIME = ("s7_date_and_time", DataType.STRING, "s", 4)
    S7_DTL = ("s7_dtl", DataType.STRING, "s", 6)

    def __init__(self, word: str, data_type: DataType, format_char: str, registers: int) -> None:
        self.word = word
        self.data_type = data_type
        self.format_char = format_char
        self.registers = registers

    @property
    def is_number(self) -> bool:
        """Whether it can be scaled."""
        return self.format_char != "s" and self is not ValueType.BOOL

    @property
    def is_integer(self) -> bool:
        """Whether it is a number without a fraction."""
        return self.is_number and not self.data_type.is_float

    @property
    def is_bcd(self) -> bool:
        """Whether each four bits are a decimal digit."""
        return self in {ValueType.BCD16, ValueType.BCD32, ValueType.BCD64}

    @property
    def is_time(self) -> bool:
        """Whether it is a date and time; its reading is a text."""
        return self.format_char == "s" and self.registers > 0

    @property
    def bits(self) -> int:
        """Size of a number."""
        return 8 if self in {ValueType.INT8, ValueType.UINT8} else 16 * self.registers


class ByteOrder(StrEnum):
    """In which order the bytes of a value arrive; A is the most significant one."""

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"

    @property
    def swaps_pairs(self) -> bool:
        """Whether the payload is read with the bytes of each register swapped."""
        return self in {ByteOrder.BADC, ByteOrder.CDAB}

    @property
    def is_little(self) -> bool:
        """Whether it is then read little-endian."""
        return self in {ByteOrder.CDAB, ByteOrder.DCBA}

    def arrange(self, registers: bytes) -> bytes:
        """Return the bytes of a value in the order in which they arrive, or those that arrived as A B C D …."""
        if self.is_little:
            registers = registers[::-1]
        return swap_pairs(registers) if self.swaps_pairs else registers


class Encoding(StrEnum):
    """How the bytes of a string are characters."""

    UTF_8 = "utf-8"
    ASCII = "ascii"
    LATIN_1 = "latin-1"
    GBK = "gbk"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of one point lies in the device, and how it is made of registers.

    Attributes:
        address: 0-based PDU address of the first coil or register.
        bit: of a BOOL in a register table; 0 is the least significant.
        length_bytes: of STRING and BYTES.
        scale, offset: ``value * scale + offset``; the result is a float64 unless they are 1 and 0.
        high_byte: which half of its register INT8 and UINT8 take.
        mask: the bits of an unsigned number that count, shifted down to bit 0; 0 = all.
        invalid: numbers by which the device says that it has no value; before ``scale``.
        valid: the least and the most that is plausible; after ``scale``.
        labels: number and its text; the reading is the text.
        bit_names: bit and its name; the reading is the names of the bits that are set.
        time_zone: of a time that the device has in local time: an IANA name.
    """

    index: int
    table: Table
    address: int
    value_type: ValueType
    byte_order: ByteOrder = ByteOrder.ABCD
    bit: int = 0
    length_bytes: int = 0
    scale: float = 1.0
    offset: float = 0.0
    high_byte: bool = False
    mask: int = 0
    invalid: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    labels: tuple[tuple[int, str], ...] = ()
    bit_names: tuple[tuple[int, str], ...] = ()
    encoding: Encoding = Encoding.UTF_8
    time_zone: str = "UTC"

    @property
    def size(self) -> int:
        """Coils or registers that it occupies."""
        return 1 if self.table.has_bits else self.value_type.registers or (self.length_bytes + 1) // 2

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.size

    @property
    def is_scaled(self) -> bool:
        """Whether its value is computed, and so a float64."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def is_plain(self) -> bool:
        """Whether the field in the payload is the value, but for ``bit``, ``scale`` and ``offset``."""
        by_itself = self.value_type is ValueType.BOOL or (self.value_type.is_number and not self.value_type.is_bcd)
        is_judged = self.mask or self.invalid or self.valid or self.labels or self.bit_names
        return by_itself and not is_judged

    @property
    def data_type(self) -> DataType:
        """Of the column it goes to."""
        if self.labels or self.bit_names:
            return DataType.STRING
        return DataType.FLOAT64 if self.is_scaled else self.value_type.data_type


def swap_pairs(registers: bytes) -> bytes:
    """Return ``registers`` with the two bytes of each swapped."""
    swapped = array("H", registers)
    swapped.byteswap()
    return swapped.tobytes()


def factor_of(scale: float) -> tuple[float, float]:
    """Return ``(divisor, factor)``: dividing by 10 gives 0.3 for 3, multiplying by 0.1 does not."""
    divisor = round(1 / scale) if abs(scale) < 1 and isfinite(1 / scale) else 0
    return (float(divisor), 1.0) if divisor and 1 / divisor == scale else (1.0, scale)
