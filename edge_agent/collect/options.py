"""What the configuration says about collecting from one device."""

from dataclasses import dataclass, field

from edge_agent.collect.packed import Packed
from edge_agent.driver import DeviceModel, DriverSpec, Shared
from edge_agent.model import DeviceId, PointTable


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """One device, validated.

    Attributes:
        config: the driver's own model instance, unpacked for ``spec.create``.
        table: the points in configured order.
        intervals_s: time between two readings, by point index.
        shared: what it shares with others, and how that is set up.
        files: hash of what is in the files that its configuration names; empty = it names none.
        found: what a session found of it, with which it was built; empty = nothing.
    """

    id: DeviceId
    spec: DriverSpec
    config: Packed[DeviceModel]
    table: PointTable
    intervals_s: tuple[float, ...]
    connect_timeout_s: float
    read_timeout_s: float
    close_timeout_s: float
    max_failures: int
    retry_max_s: float
    name: str = ""
    shared: tuple[Shared, ...] = ()
    files: str = ""
    found: str = field(default="", compare=False)
