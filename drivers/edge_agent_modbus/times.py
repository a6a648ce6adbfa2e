"""Dates and times as devices hold them in registers, and as a text in UTC. Pure.

Sources. Unix time: POSIX §4.16. ``time_iec870``: IEC 60870-5-4 §6.8 (CP56Time2a, the high byte first and a
reserved byte before it: DATETIME of Schneider Electric meters). ``s7_date_and_time``, ``s7_dtl``: Siemens STEP 7,
data types DATE_AND_TIME and DTL. ``time_bcd``: year to second, two BCD digits each (Panasonic DTBCD, with
``byte_order: CDAB``). ``time_bytes``: the same in binary (Bender PEM575). ``time_registers``: a register each.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from edge_agent.model import Quality
from edge_agent_modbus.source import ValueType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CENTURY = 100
_S7_PIVOT = 90  # DATE_AND_TIME: 90 to 99 are 1990 to 1999, 00 to 89 are 2000 to 2089
_NS = 1_000_000_000
_DTL = struct.Struct(">HBBBBBBI")  # year, month, day, weekday, hour, minute, second, nanoseconds
_IEC870 = struct.Struct(">HBBBBH")  # year, month, weekday and day, hour, minute, milliseconds of the minute


@dataclass(frozen=True, slots=True)
class Moment:
    """Date and time without a zone; ``is_doubted`` by the device itself."""

    second: datetime
    nanosecond: int = 0
    is_doubted: bool = False


@dataclass(frozen=True, slots=True)
class TimeForm:
    """One way to hold a time.

    Attributes:
        read: raises ``ValueError`` or ``OverflowError`` for what is no time.
        write: the inverse; raises ``ValueError`` for a time that the form cannot hold.
        digits: of the fraction of a second.
        is_local: whether the device holds the time of its zone; else it is UTC by definition.
    """

    read: Callable[[bytes], Moment]
    write: Callable[[Moment], bytes]
    digits: int = 0
    is_local: bool = True


def time_text(form: TimeForm, zone: ZoneInfo, registers: bytes) -> tuple[str, int]:
    """Return the time in UTC, as in ISO 8601 (``2026-11-23T08:00:00Z``), and its status.

    An hour that the zone's clocks show twice, or never, is Uncertain; what is no time is Bad.
    """
    try:
        moment = form.read(registers)
        local = moment.second.replace(tzinfo=zone if form.is_local else UTC)
        utc = local.astimezone(UTC).replace(tzinfo=None)
        is_doubted = moment.is_doubted or local.utcoffset() != local.replace(fold=1).utcoffset()
    except (ValueError, OverflowError):
        return "", Quality.BAD_DECODING_ERROR
    fraction = f".{moment.nanosecond:09}"[: form.digits + 1] if form.digits else ""
    return f"{utc.isoformat()}{fraction}Z", Quality.UNCERTAIN if is_doubted else Quality.GOOD


def time_registers(form: TimeForm, zone: ZoneInfo, text: str) -> bytes:
    """Return the registers of a time in UTC, the inverse of ``time_text``.

    Raises:
        ValueError: the text is no such time, or the form cannot hold it.
    """
    whole, point, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z") or len(fraction) != form.digits or bool(point) != bool(fraction):
        digits = f" with {form.digits} digits of a second" if form.digits else ""
        raise ValueError(f"{text!r} is not a time such as 2026-11-23T08:00:00Z{digits}")
    utc = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    local = utc.astimezone(zone) if form.is_local else utc
    registers = form.write(Moment(local.replace(tzinfo=None, fold=0), int(fraction.ljust(9, "0") or 0)))
    if time_text(form, zone, registers) != (text, Quality.GOOD):
        raise ValueError(f"the device cannot hold {text} so that it is read as the same time again")
    return registers


def _unix(size_bytes: int, per_second: int) -> TimeForm:
    is_signed = size_bytes == 8  # noqa: PLR2004 - 32 bits are unsigned: until 2106, not 2038

    def read(registers: bytes) -> Moment:
        seconds, rest = divmod(int.from_bytes(registers, signed=is_signed), per_second)
        return Moment((_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None), rest * (_NS // per_second))

    def write(moment: Moment) -> bytes:
        seconds = (moment.second.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
        count = seconds * per_second + moment.nanosecond // (_NS // per_second)
        try:
            return count.to_bytes(size_bytes, signed=is_signed)
        except OverflowError as exc:
            raise ValueError(f"{moment.second} is outside of {8 * size_bytes} bits of Unix time") from exc

    return TimeForm(read, write, digits=len(str(per_second)) - 1, is_local=False)


def _digits(body: bytes) -> list[int]:
    return [int(f"{byte:02x}") for byte in body]  # raises ValueError for a digit above 9


def _bcd(numbers: list[int]) -> bytes:
    return bytes.fromhex("".join(f"{number:02}" for number in numbers))


def _calendar(numbers: list[int]) -> Moment:
    """Return the moment of year, month, day, hour, minute, second; a year of two digits is one of this century."""
    year = numbers[0] + 2000 if numbers[0] < _CENTURY else numbers[0]
    if year < _EPOCH.year:
        raise ValueError(f"the year {year} is before {_EPOCH.year}")
    return Moment(datetime(year, *numbers[1:6]))  # type: ignore[arg-type] # noqa: DTZ001 - the zone comes later


def _numbers(moment: Moment, *, short: bool = True) -> list[int]:
    second = moment.second
    if short and not 2000 <= second.year < 2000 + _CENTURY:  # noqa: PLR2004 - two digits
        raise ValueError(f"the year {second.year} does not fit into two digits")
    year = second.year % _CENTURY if short else second.year
    return [year, second.month, second.day, second.hour, second.minute, second.second]


def _read_iec870(registers: bytes) -> Moment:
    year, month, day, hour, minute, milliseconds = _IEC870.unpack(registers)
    second, rest = divmod(milliseconds, 1000)
    moment = _calendar([year & 0x7F, month & 0x0F, day & 0x1F, hour & 0x1F, minute & 0x3F, second])
    return Moment(moment.second, rest * 1_000_000, is_doubted=bool(minute & 0x80))  # IV: the clock is not set


def _write_iec870(moment: Moment) -> bytes:
    year, month, day, hour, minute, second = _numbers(moment)
    return _IEC870.pack(year, month, day, hour, minute, 1000 * second + moment.nanosecond // 1_000_000)


def _read_s7(registers: bytes) -> Moment:
    year, *rest, hundredths = _digits(registers[:7])
    millisecond = 10 * hundredths + _digits(bytes([registers[7] >> 4]))[0]  # the last four bits are the weekday
    return Moment(_calendar([year + (1900 if year >= _S7_PIVOT else 2000), *rest]).second, millisecond * 1_000_000)


def _write_s7(moment: Moment) -> bytes:
    if not 1900 + _S7_PIVOT <= moment.second.year < 2000 + _S7_PIVOT:
        raise ValueError(f"the year {moment.second.year} is outside of DATE_AND_TIME: 1990 to 2089")
    numbers = _numbers(moment, short=False)
    milliseconds = moment.nanosecond // 1_000_000
    last = (milliseconds % 10) << 4 | _weekday(moment)
    return _bcd([numbers[0] % _CENTURY, *numbers[1:], milliseconds // 10]) + bytes([last])


def _weekday(moment: Moment) -> int:
    return moment.second.isoweekday() % 7 + 1  # 1 is Sunday


def _read_dtl(registers: bytes) -> Moment:
    year, month, day, _, hour, minute, second, nanosecond = _DTL.unpack(registers)
    if nanosecond >= _NS:
        raise ValueError("a second has fewer nanoseconds")
    return Moment(datetime(year, month, day, hour, minute, second), nanosecond)  # noqa: DTZ001 - the zone comes later


def _write_dtl(moment: Moment) -> bytes:
    year, month, day, hour, minute, second = _numbers(moment, short=False)
    return _DTL.pack(year, month, day, _weekday(moment), hour, minute, second, moment.nanosecond)


def _write_registers(moment: Moment) -> bytes:
    if moment.second.year < _EPOCH.year:
        raise ValueError(f"the year {moment.second.year} is before {_EPOCH.year}")
    return struct.pack(">6H", *_numbers(moment, short=False))


FORMS: dict[ValueType, TimeForm] = {
    ValueType.UNIX_SECONDS: _unix(4, 1),
    ValueType.UNIX_SECONDS64: _unix(8, 1),
    ValueType.UNIX_MILLISECONDS: _unix(8, 1000),
    ValueType.TIME_BCD: TimeForm(lambda body: _calendar(_digits(body)), lambda moment: _bcd(_numbers(moment))),
    ValueType.TIME_BYTES: TimeForm(lambda body: _calendar(list(body)), lambda moment: bytes(_numbers(moment))),
    ValueType.TIME_REGISTERS: TimeForm(lambda body: _calendar(list(struct.unpack(">6H", body))), _write_registers),
    ValueType.TIME_IEC870: TimeForm(_read_iec870, _write_iec870, digits=3),
    ValueType.S7_DATE_AND_TIME: TimeForm(_read_s7, _write_s7, digits=3),
    ValueType.S7_DTL: TimeForm(_read_dtl, _write_dtl, digits=9),
}
