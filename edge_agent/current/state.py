"""The present as the agent knows it, in memory only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.clock import Clock
from edge_agent.model import Column, DeviceId, PointTable, ReadingBatch, is_bad, is_good
from edge_agent.model.quality import Quality

Value = bool | int | float | str | bytes | None


class DevicePhase(StrEnum):
    """Where a device's session stands."""

    DISABLED = "disabled"
    CONNECTING = "connecting"
    ONLINE = "online"
    OFFLINE = "offline"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LatestReading:
    """The last reading of one point.

    Attributes:
        value: None if it is Bad or there is none yet.
        server_time_ns: as the server between us and the source told it; None if that is no other than ``time_ns``.
    """

    value: Value
    status: int
    time_ns: int
    server_time_ns: int | None = None


_NOTHING_YET = LatestReading(None, Quality.BAD_WAITING_FOR_INITIAL_DATA, 0)


class DeviceCurrent:
    """The present of one device."""

    def __init__(self, table: PointTable, clock: Clock) -> None:
        self.table = table
        self.phase = DevicePhase.CONNECTING
        self.reason = ""
        self.remarks: tuple[str, ...] = ()
        self._clock = clock
        self.since_ns = clock.now_ns()
        # Where the last reading of a point lies; readings are looked up when somebody asks, not when they come.
        self._where: list[tuple[ReadingBatch, Column, int] | None] = [None] * len(table.points)

    def enter(self, phase: DevicePhase, reason: str = "") -> None:
        """Change the phase; the time of the change is kept, entering the same phase again keeps the old one."""
        if phase is not self.phase:
            self.phase = phase
            self.since_ns = self._clock.now_ns()
        self.reason = reason

    def update(self, batch: ReadingBatch) -> None:
        """Take the readings of ``batch`` as the latest ones; keeps a reference to it."""
        where = self._where
        for column in batch.columns:
            for position, index in enumerate(column.points):
                where[index] = (batch, column, position)

    def latest(self, index: int) -> LatestReading:
        """Return the last reading of a point."""
        place = self._where[index]
        if place is None:
            return _NOTHING_YET
        batch, column, position = place
        status = 0 if column.statuses is None else column.statuses[position]
        time_ns = batch.time_ns + (0 if column.offsets_ns is None else column.offsets_ns[position])
        lag_ns = 0 if column.lags_ns is None else column.lags_ns[position]
        value: Value = None if column.values is None or is_bad(status) else column.values[position]
        if value is not None and column.data_type.word == "bool":
            value = bool(value)
        return LatestReading(value, status, time_ns, time_ns + lag_ns if lag_ns else None)

    def count_not_good(self) -> int:
        """Return of how many points the last reading is not Good, or not there."""
        count = 0
        for place in self._where:
            if place is None:
                count += 1
            elif (statuses := place[1].statuses) is not None:
                count += not is_good(statuses[place[2]])
        return count


class Current(Mapping[DeviceId, DeviceCurrent]):
    """The present of all devices."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._devices: dict[DeviceId, DeviceCurrent] = {}

    def add(self, table: PointTable) -> DeviceCurrent:
        """Add a device, or begin anew with one."""
        device = self._devices[table.device] = DeviceCurrent(table, self._clock)
        return device

    def remove(self, device: DeviceId) -> None:
        """Remove a device that is configured no longer."""
        self._devices.pop(device, None)

    def __getitem__(self, device: DeviceId) -> DeviceCurrent:
        return self._devices[device]

    def __iter__(self) -> Iterator[DeviceId]:
        return iter(self._devices)

    def __len__(self) -> int:
        return len(self._devices)
