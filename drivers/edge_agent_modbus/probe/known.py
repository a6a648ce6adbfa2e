"""What somebody knows of a device, as written on the command line: ``register:40010=230.5``. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf, isfinite
from sys import float_info

from edge_agent.errors import ProbeError
from edge_agent_modbus.pdu import ADDRESSES, Table
from edge_agent_modbus.point import parse_register

_TABLES = {table.word: table for table in Table}
_FORM = re.compile(r"(register|holding|input|coil|discrete):([0-9]+|0[xX][0-9a-fA-F]+)=(.*)", re.DOTALL)
_EXAMPLE = "write register:40010=230.5, or holding:, input:, coil: or discrete: with a 0-based address"
_NUMBER = re.compile(r"[+-]?([0-9]+)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
_BOOLS = {"true": True, "on": True, "false": False, "off": False}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a reading may be from what is known.

    Attributes:
        share: of the value.
        absolute: in the unit of the value; what is more of the two counts.
    """

    share: float = 0.01
    absolute: float = 0.0


@dataclass(frozen=True, slots=True)
class Known:
    """A value that is known to be at an address, or near it.

    Attributes:
        written: as the person wrote it, less the value.
        number: as written: of the data model or 0-based.
        is_register: whether ``number`` is of the data model.
        address: 0-based, if it is taken as written.
        step: half of the last digit that was written of a number.
    """

    written: str
    table: Table
    number: int
    is_register: bool
    address: int
    value: bool | float | str
    step: float = 0.0

    def tolerance(self, tolerance: Tolerance) -> float:
        """Return how far a number may be from the value."""
        if isinstance(self.value, bool | str):
            return 0.0
        return max(abs(self.value) * tolerance.share, tolerance.absolute, self.step)

    @property
    def time(self) -> datetime | None:
        """The value, if it is a time; without a zone it is UTC."""
        if not isinstance(self.value, str):
            return None
        try:
            time = datetime.fromisoformat(self.value)
        except ValueError:
            return None
        return time if time.tzinfo else time.replace(tzinfo=UTC)


def parse_known(text: str) -> Known:
    """Return what ``register:40010=230.5`` says.

    Raises:
        ProbeError: it is not of that form.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ProbeError(f"--know {text}: {_EXAMPLE}")
    way, number_text, value_text = match.groups()
    value, step = _parse_value(value_text)
    if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", value_text.strip()):
        raise ProbeError(f"--know {text}: write the decimal point as a point")
    if value == inf:
        raise ProbeError(f"--know {text}: the number is larger than any that a device has")
    if value == "":
        raise ProbeError(f"--know {text}: the value is missing behind =")
    number = int(number_text, 16 if number_text[:2].lower() == "0x" else 10)
    try:
        table, address = parse_register(number_text) if way == "register" else (_TABLES[way], number)
    except ValueError as exc:
        raise ProbeError(f"--know {text}: {exc}") from exc
    if address >= ADDRESSES:
        raise ProbeError(
            f"--know {text}: addresses are 0 to {ADDRESSES - 1}; for numbers as 400010 write register:"
        )
    return Known(f"{way}:{number_text}", table, number, way == "register", address, value, step)


def parse_tolerance(text: str) -> Tolerance:
    """Return what ``2%`` or ``0.5`` says.

    Raises:
        ProbeError: it is neither.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(%?)", text.strip())
    if match is None:
        raise ProbeError(f"--tolerance {text}: write a share, such as 2%, or a difference, such as 0.5")
    amount = float(match[1])
    return Tolerance(share=amount / 100) if match[2] else Tolerance(0.0, amount)


def _parse_value(text: str) -> tuple[bool | float | str, float]:
    if text.lower() in _BOOLS:
        return _BOOLS[text.lower()], 0.0
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return text, 0.0
    number = float(text)
    if not isfinite(number):
        return inf, 0.0
    exponent = int(match[3] or 0) - len(match[2] or "")
    is_whole = not match[2] and not match[3]
    return (int(text), 0.0) if is_whole else (number, 0.5 * 10.0 ** min(exponent, float_info.max_10_exp))
