"""The way of a probe to the units: straight over a wire of its own, or through the running agent. It only reads.

Every request of a probe, on both sides of the control socket, goes through ``ReadingOnly``.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from edge_agent.driver import Line
from edge_agent.errors import DeviceUnavailableError, ExchangeError, ProbeError
from edge_agent.model.quantity import format_duration
from edge_agent.probing import HeldLine
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.owed import reply_bytes
from edge_agent_modbus.probe.neighbours import is_connected
from edge_agent_modbus.probe.order import MAX_CHARACTERS, Order, SerialSetting
from edge_agent_modbus.serial_port import SerialModel
from edge_agent_modbus.transport import Transport, wire_of

_READS = {1, 2, 3, 4}  # MODBUS Application Protocol V1.1b3 §6.1 to §6.4
_READ_BYTES = 5  # function, address, count
_IDENTIFICATION = b"\x2b\x0e"  # §6.21; other kinds of function 43 may write
_IDENTIFICATION_BYTES = 4  # and the category, the object
_MAX_UNIT = 255
_CONNECT_S = 5.0
_REACH = {
    "transport", "serial", "host", "hosts", "port", "tls", "insecure_server_name", "source_address", "interface",
    "max_in_flight",
}  # fmt: skip
_COMMON = ("pause", "timeout")


class Exchanging(Protocol):
    """What sends a request and waits for its answer."""

    async def exchange(self, unit: int, pdu: bytes) -> bytes: ...


class ReadingOnly:
    """The seam: what is no request that only reads goes no further."""

    def __init__(self, below: Exchanging) -> None:
        self._below = below

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        """As the ``Transport`` says.

        Raises:
            ProbeError: the request is no whole one of functions 1, 2, 3, 4 and 43/14, or more than one: many
                devices tell by the function where it ends, and would take what follows for another. Nothing was
                sent.
        """
        is_read = len(pdu) == _READ_BYTES and pdu[0] in _READS
        if not is_read and not (len(pdu) == _IDENTIFICATION_BYTES and pdu.startswith(_IDENTIFICATION)):
            raise ProbeError(f"a probe only reads: the request {pdu[:8].hex(' ') or 'of no bytes'} is not sent")
        return await self._below.exchange(unit, pdu)


class Way(Protocol):
    """Asks units, each request within the time of the order."""

    through: HeldLine | None
    setting: SerialSetting | None

    async def open(self) -> None:
        """Make sure that requests can be sent.

        Raises:
            DeviceUnavailableError: they cannot; the message says what to do.
        """
        ...

    async def ask(self, unit: int, pdu: bytes) -> bytes:
        """Return the PDU of the answer.

        Raises:
            TimeoutError: there was none.
            ExchangeError: what came is no answer.
            DeviceUnavailableError: the wire is, or was meanwhile, lost; the next request tries it anew.

        On cancellation the exchange is void.
        """
        ...

    def close(self) -> None:
        """Leave nothing open; silent when called twice."""
        ...


class Straight:
    """A wire of the probe's own; opened at the first request, and again after a loss."""

    def __init__(self, order: Order, setting: SerialSetting | None = None) -> None:
        self.through: HeldLine | None = None
        self.setting = setting
        self._wire = wire_of(order.device(setting))
        self._order = order
        self._transport: Transport | None = None

    async def open(self) -> None:
        await self._opened()

    async def ask(self, unit: int, pdu: bytes) -> bytes:
        transport = await self._opened()
        async with asyncio.timeout(_wait_s(self._order, self.setting, pdu)):
            return await ReadingOnly(transport).exchange(unit, pdu)

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    async def _opened(self) -> Transport:
        if self._transport is None or self._transport.lost is not None:
            self.close()
            try:
                async with asyncio.timeout(_CONNECT_S):
                    self._transport = await self._wire.open()
            except TimeoutError:
                raise DeviceUnavailableError(
                    f"{self._order.target}: no answer within {_CONNECT_S:g} s; check address, cable, power and "
                    "firewalls"
                ) from None
        return self._transport


class ThroughAgent:
    """A line that the running agent holds: it carries out each request between its own."""

    def __init__(self, order: Order, line: HeldLine) -> None:
        self.through: HeldLine | None = line
        self.setting = _setting_of(line.reach)
        self._order = order

    async def open(self) -> None:
        """Do nothing: the agent opens its line when it has to."""

    async def ask(self, unit: int, pdu: bytes) -> bytes:
        return await ReadingOnly(self).exchange(unit, pdu)

    async def exchange(self, unit: int, pdu: bytes) -> bytes:
        """Let the agent carry it out; see ``exchange`` of this module."""
        assert self.through is not None  # noqa: S101 - for the type checker
        wait_s = _wait_s(self._order, self.setting, pdu)
        answer = await self.through.exchange({"unit": unit, "pdu": pdu.hex()}, wait_s)
        if "lost" in answer:
            raise DeviceUnavailableError(answer["lost"])
        if "failed" in answer:
            raise ExchangeError(answer["failed"])
        return bytes.fromhex(answer["pdu"])

    def close(self) -> None:
        """Do nothing: the line is the agent's."""


async def exchange(line: Line[Transport], request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Carry out one request of a prober on a line of this agent.

    Args:
        line: of a device that is configured.
        request: ``unit``, and ``pdu`` in hexadecimal.

    Returns:
        ``pdu``, the answer in hexadecimal; or ``failed`` or ``lost``, why there is none.

    Raises:
        ProbeError: it is no request, or one that does not only read.
    """
    unit, pdu = _checked(request)
    try:
        transport = await _attach(line)
    except DeviceUnavailableError as exc:
        return {"lost": str(exc)}
    try:
        async with line.turn():
            try:
                return {"pdu": (await ReadingOnly(transport).exchange(unit, pdu)).hex()}
            except asyncio.CancelledError:  # a prober asks units that are not there, and waits as it likes
                transport.pardon(unit)
                raise
    except DeviceUnavailableError as exc:
        return {"lost": str(exc)}
    except ExchangeError as exc:
        return {"failed": str(exc)}
    finally:
        line.detach(transport)


async def held_line(order: Order, lines: Sequence[HeldLine]) -> HeldLine | None:
    """Return the line of the running agent that leads to the target, None if none does.

    A socket is the same if host and port are, under whatever name and whatever the transport.
    """
    if order.serial_port:
        wanted = wire_of(order.device(order.settings[0])).key
        return next((line for line in lines if line.key == wanted), None)
    addresses = await _addresses(order.host)
    for line in lines:
        for host, port in _peers(line.key):
            if port == order.port and (host == order.host.lower() or addresses & await _addresses(host)):
                return line
    return None


async def refuse_company(order: Order) -> None:
    """Find out whether another program on this machine talks to the target; a serial port finds out by itself.

    Raises:
        ProbeError: one does.
    """
    if order.serial_port:
        return
    addresses = await _addresses(order.host)
    if await asyncio.to_thread(is_connected, addresses, order.port):
        raise ProbeError(
            f"another program on this machine is connected to {order.target}, and many devices take one client "
            "only; if it is an agent, name it with --config or --socket; --second-client connects all the same"
        )


def _peers(key: str) -> list[tuple[str, int]]:
    """Return the hosts and ports that a line leads to; none of a serial line."""
    scheme, _, places = key.partition("://")
    parts = [place.rpartition(":") for place in places.split(",")] if scheme != "serial" else []
    return [(host.strip("[]"), int(port)) for host, _, port in parts]


def _wait_s(order: Order, setting: SerialSetting | None, pdu: bytes) -> float:
    return order.wait_s(setting, reply_bytes(pdu) or MAX_CHARACTERS)


def _setting_of(reach: Mapping[str, object]) -> SerialSetting | None:
    """Return how characters are sent on a line that is not ours."""
    serial = reach.get("serial")
    if serial is None:
        return None
    model = SerialModel.model_validate(serial)
    return SerialSetting(model.baud_rate, model.parity)


async def _addresses(host: str) -> set[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, UnicodeError):  # a name without an address leads nowhere
        return set()
    return {cast("str", address[0]) for *_, address in found}


def _checked(request: Mapping[str, Any]) -> tuple[int, bytes]:
    unit, text = request.get("unit"), request.get("pdu")
    try:
        pdu = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        pdu = b""
    if not isinstance(unit, int) or not 0 <= unit <= _MAX_UNIT or not pdu:
        raise ProbeError("a request has a unit from 0 to 255, and a pdu in hexadecimal")
    return unit, pdu


async def _attach(line: Line[Transport]) -> Transport:
    transport = await line.attach()
    if transport.lost is not None:  # nobody has found out yet
        line.drop(transport)
        line.detach(transport)
        transport = await line.attach()
    return transport


def reach(config: ModbusDevice) -> dict[str, object]:
    """Return what of a device's section says how it is reached."""
    keys: dict[str, object] = config.model_dump(mode="json", include=_REACH, exclude_defaults=True)
    if config.kind not in {"tcp", "tls"}:  # devices on one line must have these in common
        for name in _COMMON:
            if getattr(config, name) != type(config).model_fields[name].default:
                keys[name] = format_duration(getattr(config, name))
    return keys
