"""What goes wrong with a simulated device, and when: by chance, by schedule, or the first few times."""

import math
import random
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edge_agent.driver import Duration, StrictModel
from edge_agent_modbus.pdu import ADDRESSES, Table
from edge_agent_modbus.simulator.request import Block

_AREA = re.compile(r"(coil|discrete|holding|input)(?: (\d+)(?:\.\.(\d+))?)?", re.ASCII)


def parse_area(text: str) -> Block:
    """Return the table and addresses of ``holding 10..19``, ``coil 7`` or ``input`` (all of it).

    Raises:
        ValueError: it is none.
    """
    found = _AREA.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no area; write coil, discrete, holding or input, and 0-based addresses: holding 10..19"
        )
    word, first, last = found.groups()
    table = Table[word.upper()]
    if first is None:
        return Block(table, 0, ADDRESSES)
    begin, end = int(first), int(last or first) + 1
    if not begin < end <= ADDRESSES:
        raise ValueError(f"{text!r} is no area: addresses go up, from 0 to {ADDRESSES - 1}")
    return Block(table, begin, end - begin)


def _check_area(text: str) -> str:
    parse_area(text)
    return text


class _Fault(StrictModel):
    at: Annotated[str, AfterValidator(_check_area)] | None = Field(
        default=None,
        description="Requests that touch these 0-based addresses, such as holding 10..19, coil 7, input; "
        "default: every request.",
    )
    probability: float = Field(default=1.0, gt=0, le=1, description="Part of those requests that it happens to.")
    after: Duration | None = Field(
        default=None,
        ge=0,
        description="Not before the device has been on for this time; default: `every`, or at once.",
    )
    every: Duration | None = Field(default=None, gt=0, description="Begins again after this time.")
    lasts: Duration | None = Field(
        default=None, gt=0, description="And is over after this time; default: after `times`."
    )
    times: int | None = Field(
        default=None,
        ge=1,
        description="At most so many requests each time; default: one with `every` alone, else all.",
    )

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if self.every is not None and self.lasts is not None and self.lasts >= self.every:
            raise ValueError("lasts: must be shorter than every:, or it never ends")
        return self

    def __str__(self) -> str:
        return type(self).__name__.lower()


class ExceptionAnswer(_Fault):
    """An exception reply: 1 to 4 refuse, 5 and 6 ask to wait, 10 and 11 come from a gateway."""

    kind: Literal["exception"]
    code: int = Field(default=2, ge=1, le=255, description="The exception code.")

    def __str__(self) -> str:
        return f"exception {self.code}"


class Delay(_Fault):
    """The answer takes longer; what comes on the same connection meanwhile waits."""

    kind: Literal["delay"]
    delay: Duration = Field(gt=0, description="How much longer.")

    def __str__(self) -> str:
        return f"delay of {self.delay:g} s"


class Silence(_Fault):
    """No answer."""

    kind: Literal["silence"]


class Short(_Fault):
    """Fewer data than were asked for, in an answer that is otherwise right."""

    kind: Literal["short"]
    missing: int = Field(default=2, ge=1, le=250, description="Bytes that are missing.")


class Garble(_Fault):
    """An answer with something wrong in it: what is named in `what`."""

    kind: Literal["garble"]
    what: Literal["count", "function", "unit", "transaction", "header", "check"] = Field(
        description="count: the byte count contradicts the length; function: another function code; unit: another "
        "unit; on TCP transaction: another transaction id; header: no Modbus at all; else check: a wrong one."
    )

    def __str__(self) -> str:
        return f"garbled {self.what}"


class Drop(_Fault):
    """The connection is broken instead of an answer."""

    kind: Literal["drop"]
    reset: bool = Field(default=False, description="true: with a TCP reset; false: closed in order.")

    def __str__(self) -> str:
        return "connection reset" if self.reset else "connection closed"


class Late(_Fault):
    """The answer is kept until the next request comes, and goes out before that one's."""

    kind: Literal["late"]

    def __str__(self) -> str:
        return "late answer"


class Reboot(_Fault):
    """The device, with all units at its address, is gone for a while; then values and counters begin anew."""

    kind: Literal["reboot"]
    down: Duration = Field(default=5.0, gt=0, description="Time until it can be reached again.")


Fault = Annotated[
    ExceptionAnswer | Delay | Silence | Short | Garble | Drop | Late | Reboot, Field(discriminator="kind")
]


class Occurrence:
    """Decides when one fault happens; the same seed and requests at the same times give the same decisions."""

    def __init__(self, fault: Fault, seed: str) -> None:
        self.fault = fault
        self._area = parse_area(fault.at) if fault.at is not None else None
        self._random = random.Random(seed)  # noqa: S311 - no secret, and the same each time
        self._first_s = (fault.every or 0.0) if fault.after is None else fault.after
        once = 1 if fault.every is not None and fault.lasts is None else None
        self._most = fault.times or once
        self._round = -1
        self._count = 0

    def happens(self, block: Block | None, age_s: float) -> bool:
        """Return whether a request for ``block`` (None: none) meets the fault, ``age_s`` after the start."""
        if self._area is not None and (block is None or not block.touches(self._area)):
            return False
        since_s = age_s - self._first_s
        if since_s < 0:
            return False
        number, phase_s = (math.floor(since_s / e), since_s % e) if (e := self.fault.every) else (0, since_s)
        if self.fault.lasts is not None and phase_s >= self.fault.lasts:
            return False
        if number != self._round:
            self._round, self._count = number, 0
        if self._most is not None and self._count >= self._most:
            return False
        if self._random.random() >= self.fault.probability:
            return False
        self._count += 1
        return True
