"""What the configuration says about collecting from one device."""

from dataclasses import dataclass, field, replace

from edge_agent.collect.packed import Packed
from edge_agent.driver import DeviceModel, DriverSpec, Shared
from edge_agent.model import DeviceId, PointTable

_OF_DEVICES = {"name": "", "labels": {}, "identifier": ""}
_OF_POINTS = {"description": "", "deadband": None, "identifier": False, "semantic_id": ""}
"""Keys that are the agent's alone: no driver goes by them."""


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

    def goes_on_as(self, other: "DeviceOptions") -> bool:
        """Return whether a session of this device may go on as one of ``other``: no driver sees a difference."""
        return self._of_the_driver() == other._of_the_driver()  # noqa: SLF001 - of this class

    def other_deadbands(self, other: "DeviceOptions") -> set[int]:
        """Return the points, which are those of ``other``, that have another deadband there."""
        pairs = zip(self.table.points, other.table.points, strict=True)
        return {index for index, (mine, theirs) in enumerate(pairs) if mine.deadband != theirs.deadband}

    def _of_the_driver(self) -> "DeviceOptions":
        """Return this without what no driver goes by."""
        model = self.config.unpack()
        points = [point.model_copy(update=_OF_POINTS) for point in model.points]
        return replace(
            self,
            name="",
            config=Packed(model.model_copy(update={**_OF_DEVICES, "points": points})),
            table=PointTable(
                self.id, tuple(replace(point, description="", deadband=None) for point in self.table.points)
            ),
        )
