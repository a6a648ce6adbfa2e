"""What an integrator writes of a Modbus device."""

import difflib
import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from edge_agent.driver import DeviceModel, Duration
from edge_agent_modbus.cost import SILENCE_CHARACTERS, SILENCE_FAST_NS, LineSpeed
from edge_agent_modbus.dialer import Route, peer_name
from edge_agent_modbus.pdu import MAX_COILS, MAX_REGISTERS
from edge_agent_modbus.plan import Limits
from edge_agent_modbus.point import ModbusPoint
from edge_agent_modbus.quirks import QUIRKS
from edge_agent_modbus.serial_port import SerialModel
from edge_agent_modbus.tls import PORT as TLS_PORT
from edge_agent_modbus.tls import TlsModel

_RTU_DATA_BITS = 8  # MODBUS over Serial Line V1.02 §2.5.1
_PORT = 502  # MODBUS Messaging on TCP/IP V1.0b §4.3.2.1

__all__ = ["ModbusDevice", "ModbusPoint"]


def _check_host(host: str) -> str:
    if not host or re.search(r"[\s/\[\]]", host) or host.count(":") == 1:  # an IPv6 address has two or more
        raise ValueError(f"{host!r} is not a host; write the name or address alone, and the port in port:")
    return host


def _check_address(address: str) -> str:
    ipaddress.ip_address(address)  # its message says that it is none
    return address


Host = Annotated[str, AfterValidator(_check_host)]
Kind = Literal["tcp", "tls", "udp", "rtu", "rtu_over_tcp", "ascii", "ascii_over_tcp"]
_SERIAL: set[Kind] = {"rtu", "ascii"}
_NETWORK: set[Kind] = {"tcp", "tls", "udp", "rtu_over_tcp", "ascii_over_tcp"}
_MEANT_FOR: dict[str, set[Kind]] = {
    "pause": {"rtu", "rtu_over_tcp", "ascii", "ascii_over_tcp"},
    "source_address": _NETWORK,
    "interface": _NETWORK,
    "line_baud_rate": _NETWORK,
    "max_in_flight": {"tcp", "tls"},
    "insecure_server_name": {"tls"},
}


def _check_quirks(name: str) -> str:
    if name not in QUIRKS:
        close = difflib.get_close_matches(name, QUIRKS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(QUIRKS))}"
        raise ValueError(f"unknown quirks {name!r}; {hint}")
    return name


class ModbusDevice(DeviceModel):
    """One unit on a line: devices with the same host and port, or the same serial port, share it."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [key]} for key in ("host", "hosts", "serial")]}
    )

    transport: Kind | None = Field(
        default=None,
        description="How frames are sent: tcp, tls (default with tls:) or udp; rtu (default with serial:) or "
        "ascii; rtu_over_tcp or ascii_over_tcp through a gateway that passes bytes on as they are.",
    )
    serial: SerialModel | None = Field(default=None, description="The serial port, instead of host:.")
    pause: Duration = Field(
        default=0.0, ge=0, description="Least silence between two requests on a line of RTU or ASCII frames."
    )
    host: Host = Field(
        default="",
        description="Name or IP address (v4, v6) of the device, or of the gateway that it is behind.",
    )
    hosts: Sequence[Host] = Field(
        default=(),
        max_length=8,
        description="Instead of host:, several of one device; the next one is used when one fails.",
    )
    port: int | None = Field(default=None, ge=1, le=65535, description="TCP port; default 502, with tls 802.")
    tls: TlsModel | None = Field(default=None, description="Certificates, for a device with Modbus Security.")
    insecure_server_name: bool = Field(
        default=False, description="true: the device's certificate may be for any name; it must still be trusted."
    )
    source_address: Annotated[str, AfterValidator(_check_address)] = Field(
        default="", description="Our own IP address to speak from, where the gateway has several."
    )
    interface: str = Field(
        default="",
        pattern=r"^[^\s/]{0,15}$",
        description="Our own network interface to speak through, such as eth1, where the gateway has several.",
    )
    line_baud_rate: int | None = Field(
        default=None,
        ge=300,
        le=4_000_000,
        description="Baud rate of the serial line behind the gateway that host: is, for the plan and its times.",
    )
    max_in_flight: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Most requests under way at once on a connection of Modbus TCP; most devices take 1.",
    )
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
    def kind(self) -> Kind:
        """How frames are sent."""
        return self.transport or ("rtu" if self.serial is not None else "tls" if self.tls is not None else "tcp")

    @property
    def route(self) -> Route:
        """How to get to its socket."""
        hosts = self.hosts or [self.host]
        return Route(
            hosts,
            self.port or (TLS_PORT if self.kind == "tls" else _PORT),
            self.source_address,
            self.interface,
            self.tls,
            not self.insecure_server_name,
            self.connect_timeout / len(hosts),
        )

    @property
    def silence_s(self) -> float:
        """Least silence before a request on a line of RTU frames."""
        if self.kind in {"ascii", "ascii_over_tcp"}:  # characters say where a frame ends
            return self.pause
        character_s = 0.0 if self.serial is None else self.serial.character_bits / self.serial.baud_rate
        return max(self.pause, SILENCE_FAST_NS / 1e9, SILENCE_CHARACTERS * character_s)

    def speed(self, baud_rate: int = 0) -> LineSpeed:
        """Return the speed of its line, as if a serial one had the baud rate given; 0: the configured one."""
        is_ascii, has_mbap = self.kind in {"ascii", "ascii_over_tcp"}, self.kind in {"tcp", "tls", "udp"}
        if self.serial is not None:
            return LineSpeed.serial(
                baud_rate or self.serial.baud_rate,
                character_bits=self.serial.character_bits,
                pause_s=self.pause,
                is_ascii=is_ascii,
            )
        if self.line_baud_rate is not None:
            line = LineSpeed.serial(baud_rate or self.line_baud_rate, pause_s=self.pause, is_ascii=is_ascii)
            return line.behind_a_gateway(has_mbap=has_mbap)
        return LineSpeed() if has_mbap else LineSpeed.network(is_ascii=is_ascii, silence_s=self.silence_s)

    @model_validator(mode="after")
    def _check_wire(self) -> Self:
        is_serial = self.serial is not None
        if is_serial + bool(self.host) + bool(self.hosts) != 1:
            raise ValueError("write one of host:, hosts: or serial:")
        if (self.kind in _SERIAL) != is_serial:
            raise ValueError(f"transport: {self.kind} needs {'serial' if self.kind in _SERIAL else 'host'}:")
        if (self.kind == "tls") != (self.tls is not None):
            raise ValueError(
                "transport: tls needs tls:, with the certificates"
                if self.tls is None
                else f"transport: {self.kind} has no use for tls:"
            )
        if len({peer_name(host, 0) for host in self.hosts}) < len(self.hosts):
            raise ValueError("hosts: has the same one twice")
        return self

    @model_validator(mode="after")
    def _check_meaning(self) -> Self:
        if self.serial is not None and self.kind == "rtu" and self.serial.bits != _RTU_DATA_BITS:
            raise ValueError("transport: rtu has data_bits: 8")
        if self.serial is not None and self.kind == "ascii" and self.serial.data_bits is None:
            raise ValueError("transport: ascii: write data_bits: of serial:, 7 as the standard has it, or 8")
        if self.serial is not None and "port" in self.model_fields_set:
            raise ValueError("port: is the TCP port of a host; the serial port goes into serial:, as {port: …}")
        for key, kinds in _MEANT_FOR.items():
            if key in self.model_fields_set and self.kind not in kinds:
                raise ValueError(f"{key}: has no meaning for transport: {self.kind}; leave it out")
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
