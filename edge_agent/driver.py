"""The contract between the agent and a driver: with ``certificates`` and the model, all that a driver may import.

A driver is a package ``edge_agent_<protocol>`` with a module attribute ``DRIVER``, a ``DriverSpec`` value,
declared by an entry point in the group ``edge_agent.drivers`` or found in a folder under ``drivers_path``.

Who does what: the agent decides when to ask, sets every time-out, backs off, connects again, reports a lost
device, logs and counts. The driver plans exchanges, talks, validates, converts, and raises from the
``DriverError`` tree. It sleeps, retries and logs nothing above debug level.

The contract stays ``api = 0`` while it may still change.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, TypeVar, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema, model_validator

from edge_agent.browsing import BrowserSpec
from edge_agent.certificates import CertificateStore
from edge_agent.clock import Clock
from edge_agent.model import DeviceId, ReadingBatch, ReadingClass, check_id
from edge_agent.model.quantity import parse_duration_s, parse_size_bytes
from edge_agent.probation import Probation as Probation  # noqa: PLC0414 - lent to drivers, for what they learn
from edge_agent.probing import ProberSpec
from edge_agent.simulating import Simulation
from edge_agent.writing import Writer as Writer  # noqa: PLC0414 - part of the contract

API = 0

Secret = SecretStr
T = TypeVar("T")


def _written(parse: Callable[[str], float]) -> Callable[[object], object]:
    def validate(value: object) -> object:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, bool | int | float):
            return parse(str(value))  # raises: the unit is missing
        return value

    return validate


Duration = Annotated[
    float,
    BeforeValidator(_written(parse_duration_s)),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|min|h|d)\s*$"}),
]
"""A duration in YAML (``500ms``), seconds inside."""

Size = Annotated[
    int,
    BeforeValidator(_written(parse_size_bytes)),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(B|kB|MB|GB|KiB|MiB|GiB)\s*$"}),
]
"""A size in YAML (``256KiB``), bytes inside."""

Id = Annotated[
    str,
    BeforeValidator(lambda value: check_id(value) if isinstance(value, str) else value),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?$"}),
]
"""The name of a device, point, publisher or gateway."""


class StrictModel(BaseModel):
    """What the agent's and the drivers' config models have in common: unknown keys are errors, no coercion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DeadbandModel(StrictModel):
    """When a change of a point is too small to be kept."""

    absolute: float = Field(default=0.0, ge=0, description="Smallest change that is kept, in the point's unit.")
    percent: float = Field(
        default=0.0, ge=0, le=100, description="Smallest change that is kept, in percent of the last kept value."
    )
    max_silence: Duration | None = Field(
        default=None, gt=0, description="A reading is kept at the latest after this time, changed or not."
    )


class RangeModel(StrictModel):
    """Between what the values of a point are expected to be."""

    low: float = Field(allow_inf_nan=False, description="Lowest value, in the point's unit.")
    high: float = Field(allow_inf_nan=False, description="Highest value, in the point's unit.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            raise ValueError("`low:` is not below `high:`")
        return self


class PointModel(StrictModel):
    """Keys that every point has; a driver's point model adds its own (address, node, type …)."""

    name: Id = Field(description="Name of the point, unique within the device; the key in published messages.")
    unit: str = Field(default="", description="Engineering unit, published as written.")
    range: RangeModel | None = Field(
        default=None, description="Between what its values are expected to be; goes into the directory message."
    )
    reading_class: Annotated[ReadingClass, Field(strict=False)] = Field(
        default=ReadingClass.TREND,
        alias="class",
        description="How precious: alarm, event, counter or trend. A full outbox gives up trend first.",
    )
    interval: Duration | None = Field(
        default=None, ge=0.01, description="Time between two readings of this point; default: the device's."
    )
    deadband: DeadbandModel | None = Field(default=None, description="Drop changes that are too small.")
    description: str = Field(default="", description="For people; on the status page.")
    identifier: bool | str = Field(
        default=False,
        description="true: the point gets an identifier code by the template; text: its suffix, as written.",
    )
    semantic_id: str = Field(
        default="", description="What the number means, such as an IRDI; goes into the directory message."
    )


class DeviceModel(StrictModel):
    """Keys that every device has; a driver's device model adds its own and narrows ``points``."""

    id: Id = Field(description="Name of the device, unique within the gateway; a level of the topic.")
    driver: str = Field(description="The protocol: see `edge-agent drivers`.")
    name: str = Field(default="", description="Display name, any language.")
    enabled: bool = Field(default=True, description="false: the device is checked but not connected.")
    interval: Duration = Field(default=1.0, ge=0.01, description="Time between two readings of each point.")
    connect_timeout: Duration = Field(default=5.0, gt=0, description="Longest time to establish a session.")
    timeout: Duration = Field(default=3.0, gt=0, description="Longest time for one planned exchange.")
    close_timeout: Duration = Field(default=2.0, gt=0, description="Longest time for a graceful close.")
    max_failures: int = Field(default=3, ge=1, description="Failed exchanges in a row that end the session.")
    retry_max: Duration = Field(
        default=60.0, gt=0, description="Longest pause between two attempts to connect (full jitter)."
    )
    identifier: str = Field(
        default="", description="Suffix of the device's identifier code; default: the template."
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Free texts (asset number, serial, line) for templates and the directory.",
    )
    points: Sequence[PointModel] = Field(min_length=1, max_length=65535, description="What to read.")


class Stability(StrEnum):
    """How far a driver can be trusted; shown by ``edge-agent drivers``."""

    EXPERIMENTAL = "experimental"
    BETA = "beta"
    STABLE = "stable"


class Request(Protocol):
    """One planned exchange; opaque to the agent beyond what it prints."""

    @property
    def points(self) -> Sequence[int]:
        """Point indexes that this exchange answers for."""
        ...

    def __str__(self) -> str:
        """Return one line for ``check --plan``: what goes over the wire."""
        ...


Emit = Callable[[ReadingBatch], Awaitable[None]]
"""Takes a batch that a reporting session produced; waits while the agent cannot take more.

What the session found to be missing goes with a batch (``ReadingBatch.lost``), of readings or empty.
"""


class Session(Protocol):
    """One live connection. Made by ``Device.connect``; used by one task; closed or aborted exactly once."""

    async def read(self, request: Request) -> ReadingBatch:
        """Carry out one exchange and return a reading, Good or Bad, for each of the request's points.

        A point that the device refuses has a Bad status in the batch and its index in ``refused``; it never
        costs the readings of the other points and is never an exception.

        Raises:
            ExchangeError: this exchange gave nothing; the session may be used again.
            DeviceUnavailableError: the session is dead.

        On cancellation (the agent's time-out is one) the exchange is void: an answer that comes late is
        discarded and never taken for the answer to another request.
        """
        ...

    async def run(self, emit: Emit) -> None:
        """Report readings of the device's ``reported`` points as they come, until the session ends.

        Called once, and only if ``reported`` is not empty. Never returns by itself.

        Raises:
            DeviceUnavailableError: the session is dead, or has been silent for longer than it may.
        """
        ...

    async def close(self) -> None:
        """End the session politely, then drop it. Silent when called twice or on a dead session.

        On cancellation the transport is dropped all the same.
        """
        ...


@runtime_checkable
class Remarking(Protocol):
    """What a ``Session`` may have besides: what the device does otherwise than it was asked."""

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences for people: each is logged once, the first 50 of a device; shown while the session lives."""
        ...


@runtime_checkable
class Finding(Protocol):
    """What a ``Session`` may have besides: the device says which points it has, or what is to be said of them."""

    async def find_points(self) -> str:
        """Ask the device, and return what it says as a text for ``DriverSpec.found``.

        Called once in a session, beside what else it does. The agent keeps the text and hands it to
        ``DriverSpec.found`` when it builds the device the next time: at once, if it is another text than the one
        that this device was built with. So the same points give the same text.

        Raises:
            DeviceUnavailableError: the session is dead. Whatever else hinders it is a remark.

        On cancellation (the agent's time-out is one) nothing was found.
        """
        ...


@runtime_checkable
class Concurrent(Protocol):
    """What a ``Session`` may have besides: it takes several reads at once, each of another request."""

    @property
    def max_in_flight(self) -> int:
        """The most reads of one poll that the agent has under way; the same for the life of the session."""
        ...


class Device(Protocol):
    """One configured device: pure planning plus ``connect``. Made once by ``DriverSpec.create``."""

    @property
    def polled(self) -> Sequence[int]:
        """Point indexes that the agent asks for on schedule."""
        ...

    @property
    def reported(self) -> Sequence[int]:
        """Point indexes that a session reports by itself; empty for a polled protocol."""
        ...

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Request]:
        """Group ``points`` (of one interval) into exchanges. Pure: the same input gives the same plan.

        Input is also what was learned (``Context.state``): the agent plans again when it changed.

        Each point is in exactly one request; one that is in ``refused`` shares its request with no other.
        """
        ...

    async def connect(self) -> Session:
        """Open a session; each call makes a new one from nothing.

        Raises:
            DeviceUnavailableError: no connection, refused, not trusted.

        On cancellation nothing stays open.
        """
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one exchange takes of the line that it goes over.

    Attributes:
        line: its key, as given to ``Context.line``; exchanges on one line wait for each other.
        sent_bytes, received_bytes: frames of the protocol, without those that carry them (TCP, IP, Ethernet).
        duration_s: from this request to the next one, if the device answers.
        baud_rate: of a serial line; 0 of others.
    """

    line: str
    sent_bytes: int
    received_bytes: int
    duration_s: float
    baud_rate: int = 0


@runtime_checkable
class Estimating(Protocol):
    """What a ``Device`` may have besides: foresight, for ``check --plan``. Without it a plan has no times."""

    def estimate(self, request: Request, baud_rate: int = 0) -> Estimate:
        """Foretell one exchange of a plan of this device. Pure.

        Args:
            request: one that ``plan`` made.
            baud_rate: as if the serial line had this one; 0: the configured one. Other lines do not look at it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What several devices may use together (a serial port, a gateway's socket), and what they must agree on.

    Attributes:
        name: of the thing, the same for all that use it (``/dev/ttyUSB0``).
        settings: by key of the device's YAML (``serial.baud_rate``), as people write it; compared where both
            devices have the key.
    """

    name: str
    settings: Mapping[str, str]


class Line(Protocol[T]):
    """A transport that several devices share (serial port, socket of a gateway).

    One exchange at a time, unless ``limit`` said otherwise.
    """

    async def attach(self) -> T:
        """Join the line and return its transport; the first one opens it.

        Raises:
            DeviceUnavailableError: the transport cannot be opened.

        On cancellation this session has not joined.
        """
        ...

    def detach(self, transport: T) -> None:
        """Leave the line; the last one closes the transport. Once for each ``attach``, dropped or not."""
        ...

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for a turn, first come first served, and hold the line (a place on it) for one exchange.

        A cancelled wait gives the place up; a cancelled exchange gives the line to the next one.
        """
        ...

    def limit(self, places: int, reason: str = "") -> None:
        """Let so many exchanges be under way at once from now on; those that are more come to their end.

        Args:
            places: at least 1.
            reason: logged when it is a new one; for what an operator should know of.
        """
        ...

    def drop(self, transport: T) -> None:
        """Close a transport that is dead; the next ``attach`` opens a new one. Silent when called twice.

        Other sessions that hold it find it closed at their next exchange and are connected again one by one.
        """
        ...


class Context(Protocol):
    """All that a driver may take from its surroundings."""

    @property
    def device(self) -> DeviceId:
        """The device's id."""
        ...

    @property
    def clock(self) -> Clock:
        """The agent's clock; drivers ask no other."""
        ...

    @property
    def state(self) -> MutableMapping[str, str]:
        """What the driver learned of this device; small, persisted, may be forgotten on request at any time.

        A change leads to a new plan. Keys that begin with ``agent.`` are the agent's own.
        """
        ...

    @property
    def directory(self) -> Path:
        """The driver's own folder in the state directory, one for all its devices.

        For files that people handle, such as certificates; it is there once the driver makes it. Files block: they
        are read and written on a thread.
        """
        ...

    def expires(self, certificate: str, time_ns: int, remedy: str) -> None:
        """Tell until when a certificate that this device needs is valid; the agent shows it and warns in time.

        Args:
            certificate: which one: ``own``, ``server`` or ``user``; the last word about each counts.
            time_ns: the end of its validity.
            remedy: what a person has to do before that.
        """
        ...

    def line(
        self,
        key: str,
        open_transport: Callable[[], Awaitable[T]],
        close: Callable[[T], None],
        *,
        station: str = "",
    ) -> Line[T]:
        """Return the line that has this key, made at the first call.

        Args:
            key: names the shared thing (``tcp://10.0.0.7:502``); the same key means the same line.
            open_transport: opens it; raises ``DeviceUnavailableError``; leaves nothing behind when cancelled.
            close: drops it at once; never raises; may be called twice.
            station: who on the line answers for this device (``unit 7``). Devices that name the same one learn
                together that it is silent: one of them tries it again, for all. Empty: nobody else's.
        """
        ...


@dataclass(frozen=True, slots=True)
class SimulatorSpec:
    """The ability to stand in for devices of a protocol where there is no hardware.

    Attributes:
        config_model: pydantic model of one simulated device; a subclass of the driver's own, so that a device that
            was configured for the agent can be simulated as it stands.
        serve: answers for devices, each of ``config_model``, until it is cancelled. Raises ``SimulationError``.
    """

    config_model: type[DeviceModel]
    serve: Callable[[Sequence[Any], Simulation], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """What a driver registers: a value, not a class to inspect.

    Attributes:
        protocol: the word after ``driver:`` in YAML.
        api: the ``API`` it was written for.
        config_model: pydantic model of one device; a subclass of ``DeviceModel`` whose ``points`` are a list
            of a subclass of ``PointModel``.
        create: makes a ``Device`` of a validated config. Pure: touches no network, file or clock.
            Raises ``PointRejectedError`` for what the model could not express.
        title: one line for people.
        simulator: loads the simulator; a running agent never calls it.
        prober: loads the prober; a running agent does so at the first request of one.
        writer: makes the writer of a device from its config and a live session. Nothing in the agent calls it.
        shares: what a device of a validated config uses together with others; two that disagree are refused. Pure.
        browser: loads the browser; a running agent never calls it.
        certificates: opens the certificate store in the driver's directory (``Context.directory``).
        files: reads what a validated config names of the disk, as a connection would, before a reload takes it up.
            Raises ``DriverError``; the message names the file. Blocks.
        found: makes of a validated config and of what a session found (``Finding``) the config of the device as it
            is collected: the points that are written, in their order, and behind them those that were found. Pure.
            Raises nothing: of a text that it cannot use it takes what it can.
    """

    protocol: str
    api: int
    config_model: type[DeviceModel]
    create: Callable[[Context, Any], Device]
    title: str
    stability: Stability = Stability.EXPERIMENTAL
    simulator: Callable[[], SimulatorSpec] | None = None
    prober: Callable[[], ProberSpec] | None = None
    writer: Callable[[Any, Any], Writer] | None = None
    shares: Callable[[Any], Sequence[Shared]] | None = None
    browser: Callable[[], BrowserSpec] | None = None
    certificates: Callable[[Path], CertificateStore] | None = None
    files: Callable[[Any], None] | None = None
    found: Callable[[Any, str], DeviceModel] | None = None
