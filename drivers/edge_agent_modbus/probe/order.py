"""What a probe is asked to do: target and settings as written, made into what is done. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from edge_agent.errors import ProbeError
from edge_agent.model.quantity import parse_duration_s
from edge_agent_modbus.config import ModbusDevice
from edge_agent_modbus.pdu import ADDRESSES
from edge_agent_modbus.probe.known import Known, Tolerance, parse_known, parse_tolerance

BAUD_RATES = (9600, 19200, 115200, 38400, 57600, 4800, 2400, 1200)
"""The most common first."""
PARITIES = ("none", "even", "odd")
TCP_UNITS = (1, *range(2, 17), 255, 0)
"""A device with a socket of its own takes 1, 255 or 0; behind a gateway most have low numbers."""
SERIAL_UNITS = tuple(range(1, 17))
TRANSPORTS = ("tcp", "udp", "rtu_over_tcp", "ascii_over_tcp")
RANGES = ("none", "usual", "thorough")
FIRST_UNITS = 3
"""So many units are tried at each setting of a serial line before the others are."""
_TIMEOUT_S = 1.0
_SERIAL_TIMEOUT_S = 0.3  # and the time that the frames take
_MAX_TIMEOUT_S = 30.0
_MAX_SERIAL_UNIT = 247  # MODBUS over Serial Line V1.02 §2.2; 0 is for all, and nobody answers
MAX_CHARACTERS = 256
"""Of a frame (MODBUS over Serial Line V1.02 §2.5.1)."""
_REQUEST_CHARACTERS = 8
_CHARACTER_BITS = 11
_SETTINGS = ("units", "addresses", "baud-rates", "parities", "transport", "timeout", "know", "tolerance", "ranges")


@dataclass(frozen=True, slots=True)
class SerialSetting:
    """How characters are sent."""

    baud_rate: int
    parity: str

    def __str__(self) -> str:
        return f"{self.baud_rate} {self.parity}"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done.

    Attributes:
        target: as written.
        serial_port: empty for a socket.
        settings: of a serial line, to be tried in this order; empty for a socket.
        has_chosen_settings: whether somebody named baud rates or parities.
        timeout_s: None: a default that depends on the line.
        ranges: how thoroughly to look for what can be read; one of ``RANGES``.
    """

    target: str
    host: str = ""
    port: int = 502
    serial_port: str = ""
    transport: str = "tcp"
    units: tuple[int, ...] = TCP_UNITS
    first: int = 0
    last: int = ADDRESSES - 1
    settings: tuple[SerialSetting, ...] = ()
    has_chosen_settings: bool = False
    timeout_s: float | None = None
    known: tuple[Known, ...] = ()
    tolerance: Tolerance = field(default_factory=Tolerance)
    ranges: str = "usual"

    def wait_s(self, setting: SerialSetting | None = None, answer_characters: int = MAX_CHARACTERS) -> float:
        """Return how long an answer of so many characters is waited for."""
        if self.timeout_s is not None:
            return self.timeout_s
        if setting is None:
            return _TIMEOUT_S
        return _SERIAL_TIMEOUT_S + _CHARACTER_BITS * (_REQUEST_CHARACTERS + answer_characters) / setting.baud_rate

    def wire_keys(self, setting: SerialSetting | None = None) -> dict[str, object]:
        """Return what of a device's section says how it is reached."""
        if self.serial_port:
            chosen = setting or SerialSetting(BAUD_RATES[0], PARITIES[0])
            serial = {"port": self.serial_port, "baud_rate": chosen.baud_rate, "parity": chosen.parity}
            return {"serial": serial}
        keys: dict[str, object] = {"host": self.host}
        keys |= {"port": self.port} if self.port != 502 else {}  # noqa: PLR2004 - the default
        return keys | ({"transport": self.transport} if self.transport != "tcp" else {})

    def device(self, setting: SerialSetting | None = None) -> ModbusDevice:
        """Return the device that ``wire_of`` takes the way from.

        Raises:
            ProbeError: there is no such way.
        """
        try:
            return ModbusDevice.model_validate(
                {
                    **self.wire_keys(setting),
                    "id": "probe",
                    "driver": "modbus",
                    "timeout": f"{round(4000 * self.wait_s(setting))}ms",  # its second try is none of a probe's
                    "points": [{"name": "any", "holding": 0, "type": "uint16"}],
                }
            )
        except ValidationError as exc:
            why = exc.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise ProbeError(f"{self.target}: {why}") from exc


def parse_order(target: str, written: Mapping[str, Sequence[str]]) -> Order:
    """Return what ``edge-agent probe modbus TARGET`` is asked to do.

    Raises:
        ProbeError: it cannot be done as written.
    """
    for name in written:
        if name not in _SETTINGS:
            raise ProbeError(f"--{name} has no meaning for modbus; it takes --{', --'.join(_SETTINGS)}")
    one = {name: values[-1] for name, values in written.items() if values}
    serial_port = target if target.startswith("/") else ""
    host, port = ("", 502) if serial_port else _parse_peer(target)
    order = Order(
        target,
        host,
        port,
        serial_port,
        _parse_transport(one.get("transport", "tcp"), serial_port),
        _parse_units(one.get("units"), is_serial=bool(serial_port)),
        *_parse_addresses(one.get("addresses")),
        settings=_parse_settings(one, serial_port),
        has_chosen_settings="baud-rates" in one or "parities" in one,
        timeout_s=_parse_timeout(one.get("timeout")),
        known=tuple(map(parse_known, written.get("know", ()))),
        tolerance=parse_tolerance(one["tolerance"]) if "tolerance" in one else Tolerance(),
        ranges=_parse_choice("ranges", one.get("ranges", "usual"), RANGES),
    )
    order.device()
    return order


def serial_steps(order: Order) -> Iterator[tuple[SerialSetting, tuple[int, ...]]]:
    """Yield the settings of a serial line and the units to try at each, those first that are found most."""
    for units in (order.units[:FIRST_UNITS], order.units[FIRST_UNITS:]):
        if units:
            for setting in order.settings:
                yield setting, units


def _parse_peer(target: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?", target)
    if match is not None:
        return match[1] or match[2], int(match[3] or 502)
    if target.count(":") > 1 and "[" not in target:  # an IPv6 address alone
        return target, 502
    raise ProbeError(
        f"{target!r} is no target: write HOST, HOST:PORT, [IPV6]:PORT or a serial port such as /dev/ttyUSB0"
    )


def _parse_transport(word: str, serial_port: str) -> str:
    if serial_port:
        if word not in {"tcp", "rtu"}:
            raise ProbeError(f"--transport {word} needs a host; a serial port is probed in RTU")
        return "rtu"
    return _parse_choice("transport", word, TRANSPORTS)


def _parse_choice(name: str, word: str, choices: Sequence[str]) -> str:
    if word not in choices:
        raise ProbeError(f"--{name} {word}: write {', '.join(choices[:-1])} or {choices[-1]}")
    return word


def _parse_units(text: str | None, *, is_serial: bool) -> tuple[int, ...]:
    if text is None:
        return SERIAL_UNITS if is_serial else TCP_UNITS
    least, most = (1, _MAX_SERIAL_UNIT) if is_serial else (0, 255)
    return _parse_numbers("units", text, least, most)


def _parse_addresses(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, ADDRESSES - 1
    match = re.fullmatch(r"([0-9]+)(?:\.\.|-)([0-9]+)", text)
    if match is None or not int(match[1]) <= int(match[2]) < ADDRESSES:
        raise ProbeError(f"--addresses {text}: write the first and the last one, 0-based, such as 0..999")
    return int(match[1]), int(match[2])


def _parse_numbers(name: str, text: str, least: int, most: int) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]+)(?:(?:\.\.|-)([0-9]+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not least <= first <= last <= most:
            raise ProbeError(f"--{name} {text}: write numbers from {least} to {most}, such as 1..10,20")
        numbers += range(first, last + 1)
    return tuple(dict.fromkeys(numbers))


def _parse_settings(one: Mapping[str, str], serial_port: str) -> tuple[SerialSetting, ...]:
    if not serial_port:
        for name in ("baud-rates", "parities"):
            if name in one:
                raise ProbeError(f"--{name} is for a serial port, such as /dev/ttyUSB0")
        return ()
    rates = _parse_numbers("baud-rates", one["baud-rates"], 300, 4_000_000) if "baud-rates" in one else BAUD_RATES
    parities = one["parities"].split(",") if "parities" in one else list(PARITIES)
    for parity in parities:
        _parse_choice("parities", parity, PARITIES)
    # Both lists begin with what is found most: 19200 none and 9600 even come before 1200 none.
    pairs = [
        (at + 2 * turn, rate, parity) for at, rate in enumerate(rates) for turn, parity in enumerate(parities)
    ]
    return tuple(SerialSetting(rate, parity) for _, rate, parity in sorted(pairs, key=lambda pair: pair[0]))


def _parse_timeout(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        timeout_s = parse_duration_s(text)
    except ValueError as exc:
        raise ProbeError(f"--timeout {text}: {exc}") from exc
    if not 0 < timeout_s <= _MAX_TIMEOUT_S:
        raise ProbeError(f"--timeout {text}: more than 0, at most {_MAX_TIMEOUT_S:g}s")
    return timeout_s
