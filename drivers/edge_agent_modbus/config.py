"""What an integrator writes of a Modbus device."""

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from edge_agent.driver import DeviceModel, Duration
from edge_agent_modbus.cost import SILENCE_CHARACTERS, SILENCE_FAST_NS, LineSpeed
from edge_agent_modbus.pdu import MAX_COILS, MAX_REGISTERS
from edge_agent_modbus.plan import Limits
from edge_agent_modbus.point import ModbusPoint
from edge_agent_modbus.quirks import QUIRKS
from edge_agent_modbus.serial_port import SerialModel

__all__ = ["ModbusDevice", "ModbusPoint"]


def _check_host(host: str) -> str:
    if not host or re.search(r"[\s/\[\]]", host) or host.count(":") == 1:  # an IPv6 address has two or more
        raise ValueError(f"{host!r} is not a host; write the name or address alone, and the port in port:")
    return host


def _check_quirks(name: str) -> str:
    if name not in QUIRKS:
        close = difflib.get_close_matches(name, QUIRKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(QUIRKS))}"
        raise ValueError(f"unknown quirks {name!r}; {hint}")
    return name


class ModbusDevice(DeviceModel):
    """One unit on a line: devices with the same host and port, or the same serial port, share it."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["host"]}, {"required": ["serial"]}]})

    transport: Literal["tcp", "rtu", "rtu_over_tcp"] | None = Field(
        default=None,
        description="How frames are sent: tcp (with host:), rtu (with serial:), or rtu_over_tcp, RTU frames "
        "through a gateway that passes bytes on as they are.",
    )
    serial: SerialModel | None = Field(default=None, description="The serial port, instead of host:.")
    pause: Duration = Field(
        default=0.0, ge=0, description="Least silence between two requests on a line of RTU frames."
    )
    host: Annotated[str, AfterValidator(_check_host)] = Field(
        default="",
        description="Name or IP address (v4, v6) of the device, or of the gateway that it is behind.",
    )
    port: int = Field(default=502, ge=1, le=65535, description="TCP port.")
    unit: int = Field(
        default=1,
        ge=0,
        le=255,
        description="Unit identifier: the station behind a gateway; most devices with a socket of their own "
        "take 1, 0 or 255.",
    )
    quirks: Annotated[
        str, AfterValidator(_check_quirks), WithJsonSchema({"type": "string", "enum": sorted(QUIRKS)})
    ] = Field(default="standard", description="What the model of device takes: limits that are known of it.")
    max_registers: int = Field(
        default=MAX_REGISTERS,
        ge=1,
        le=MAX_REGISTERS,
        description="Most registers in one request; the standard allows 125, some devices take fewer.",
    )
    max_coils: int = Field(
        default=MAX_COILS, ge=1, le=MAX_COILS, description="Most coils or discrete inputs in one request."
    )
    read_gaps: bool = Field(
        default=True,
        description="Addresses between two points may be read with them where that takes less time than another "
        "request; false: nothing is read that no point asks for.",
    )
    points: Sequence[ModbusPoint] = Field(min_length=1, max_length=65535, description="What to read.")

    @property
    def limits(self) -> Limits:
        """What may be in one request."""
        known = QUIRKS[self.quirks]
        return Limits(
            min(self.max_registers, known.max_registers), min(self.max_coils, known.max_coils), self.read_gaps
        )

    @property
    def silence_s(self) -> float:
        """Least silence before a request on a line of RTU frames."""
        character_s = 0.0 if self.serial is None else self.serial.character_bits / self.serial.baud_rate
        return max(self.pause, SILENCE_FAST_NS / 1e9, SILENCE_CHARACTERS * character_s)

    def speed(self, baud_rate: int = 0) -> LineSpeed:
        """Return the speed of its line, as if a serial one had the baud rate given; 0: the configured one."""
        if self.serial is None:
            return LineSpeed()
        return LineSpeed.serial(
            baud_rate or self.serial.baud_rate, character_bits=self.serial.character_bits, pause_s=self.pause
        )

    @model_validator(mode="after")
    def _check_wire(self) -> Self:
        if (self.serial is None) == (not self.host):
            raise ValueError("write either host: or serial:")
        if self.transport is not None and (self.transport == "rtu") != (self.serial is not None):
            raise ValueError(
                f"transport: {self.transport} needs {'serial' if self.transport == 'rtu' else 'host'}:"
            )
        if self.serial is not None and "port" in self.model_fields_set:
            raise ValueError("port: is the TCP port of a host; the serial port goes into serial:, as {port: …}")
        if "pause" in self.model_fields_set and self.serial is None and self.transport != "rtu_over_tcp":
            raise ValueError("pause: has no meaning for Modbus TCP: leave it out")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        tables, limits = QUIRKS[self.quirks].tables, self.limits
        for key, most in (("max_registers", limits.registers), ("max_coils", limits.coils)):
            if key in self.model_fields_set and getattr(self, key) > most:
                raise ValueError(
                    f"{key}: {getattr(self, key)} is more than quirks: {self.quirks} takes, which is {most}"
                )
        for index, point in enumerate(self.points):
            source = point.source(index)
            if source.table not in tables:
                known = ", ".join(sorted(table.word for table in tables))
                raise ValueError(
                    f"point {point.name} is in a table that a device of quirks: {self.quirks} does not have: "
                    f"{source.table.word}; it has {known}"
                )
            if not source.table.has_bits and source.size > limits.registers:
                raise ValueError(
                    f"point {point.name} has {source.size} registers, which is more than max_registers: "
                    f"{limits.registers}; a value is never read in pieces"
                )
        return self
