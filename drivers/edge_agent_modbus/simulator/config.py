"""What an integrator writes of a simulated Modbus device: what can be read, how it moves, what goes wrong."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edge_agent.driver import StrictModel
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.point import ModbusPoint
from edge_agent_modbus.simulator.faults import Drop, Fault, Garble
from edge_agent_modbus.simulator.fit import Register
from edge_agent_modbus.simulator.signals import Moment, Signal

_MAX_OBJECT_BYTES = 244  # MODBUS Application Protocol V1.1b3 §6.21: one object has to fit in one answer


def _check_object(text: str) -> str:
    if len(text.encode()) > _MAX_OBJECT_BYTES:
        raise ValueError(f"longer than {_MAX_OBJECT_BYTES} bytes")
    return text


_OF_TCP, _OF_LINES = {"transaction", "header"}, {"check"}  # what can be garbled there only
_SAMPLE = Moment(0.0, 1_790_000_000_000_000_000)  # in 2026: some forms of time begin in 2000


_Object = Annotated[str, AfterValidator(_check_object)]


class Identification(StrictModel):
    """What the device says of itself (function 43/14)."""

    vendor: _Object = Field(description="Vendor name.")
    product_code: _Object = Field(description="Product code.")
    revision: _Object = Field(description="Major and minor revision.")
    vendor_url: _Object = Field(default="", description="Address of the vendor's pages.")
    product_name: _Object = Field(default="", description="Product name.")
    model_name: _Object = Field(default="", description="Model name.")
    application_name: _Object = Field(default="", description="Name that the user gave to the application.")

    @property
    def objects(self) -> dict[int, bytes]:
        """Text by object number; the first three are always there."""
        texts = (
            self.vendor, self.product_code, self.revision, self.vendor_url,
            self.product_name, self.model_name, self.application_name,
        )  # fmt: skip
        return {number: text.encode() for number, text in enumerate(texts) if text or number < 3}  # noqa: PLR2004


class SimulatedPoint(ModbusPoint):
    """A point, and how it moves."""

    signal: Signal | None = Field(
        default=None, description="How the value moves; default: something plausible for its type and unit."
    )

    @model_validator(mode="after")
    def _check_signal(self) -> Self:
        if self.signal is not None:
            Register(self.source(0)).words(self.signal.course("")(_SAMPLE))
        return self


class SimulatedDevice(ModbusDevice):
    """A device, and what it does besides answering."""

    identification: Identification | None = Field(
        default=None, description="What it says of itself; default: it does not know function 43/14."
    )
    faults: Sequence[Fault] = Field(default=(), max_length=1000, description="What goes wrong, and when.")
    points: Sequence[SimulatedPoint] = Field(min_length=1, max_length=65535, description="What can be read.")

    @property
    def frames(self) -> Literal["tcp", "rtu", "ascii"]:
        """What frames look like."""
        return "rtu" if self.kind.startswith("rtu") else "ascii" if self.kind.startswith("ascii") else "tcp"

    @model_validator(mode="after")
    def _check_faults(self) -> Self:
        if self.kind == "udp":
            raise ValueError("transport: udp cannot be simulated; tcp can")
        for fault in self.faults:
            if isinstance(fault, Drop) and self.serial is not None:
                raise ValueError("fault drop: a serial line has no connection; take silence or reboot")
            if isinstance(fault, Garble) and fault.what in (_OF_LINES if self.frames == "tcp" else _OF_TCP):
                raise ValueError(f"fault {fault}: has no meaning with transport: {self.kind}")
        return self
