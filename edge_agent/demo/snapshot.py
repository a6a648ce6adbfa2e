"""One moment of the demo: what the table shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.current import DevicePhase
from edge_agent.current.state import Value


@dataclass(frozen=True, slots=True)
class PointLine:
    """One point. ``age_s`` is None while there is no reading; ``code`` is empty where none is assigned."""

    device: str
    phase: DevicePhase
    point: str
    value: Value
    unit: str
    status: int
    age_s: float | None
    code: str


@dataclass(frozen=True, slots=True)
class Figures:
    """How many readings have got how far; ``received`` and ``duplicated`` are the subscriber's own count."""

    collected: int = 0
    committed: int = 0
    published: int = 0
    acknowledged: int = 0
    received: int = 0
    duplicated: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment.

    Attributes:
        rate: readings committed per second, lately.
        addresses: of the broker and of the agent's own pages.
        notes: the last lines of the log.
    """

    elapsed_s: float
    lines: tuple[PointLine, ...]
    figures: Figures
    rate: float
    pending_rows: int
    outbox_bytes: int
    is_broker_up: bool
    addresses: Mapping[str, str]
    notes: tuple[str, ...] = ()
    is_stopping: bool = False
