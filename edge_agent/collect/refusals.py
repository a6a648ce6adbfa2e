"""Which points a device refuses, why, and when each is tried again; kept with what is learned of it. Pure."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import Annotated

import msgspec

from edge_agent.driver import DeviceModel, PointModel
from edge_agent.probation import Probation

KEY = "agent.refused_points"
MAX_KEPT = 1000
"""Points of a device; what is beyond is searched for again after a restart."""


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    asked: str
    pause_s: float
    due_s: float  # UTC, since 1970
    status: Annotated[int, msgspec.Meta(ge=0x8000_0000, le=0xFFFF_FFFF)]  # Bad


class Refusals:
    """The refused points of one device, by index; kept by name, with what was asked.

    Args:
        names: of the points.
        state: where they are kept.
    """

    def __init__(self, names: Sequence[str], state: MutableMapping[str, str]) -> None:
        self._names = names
        self._state = state
        self._probation = Probation[int]()
        self._statuses: dict[int, int] = {}
        self._asked: dict[int, str] = {}
        self._is_changed = False

    def restore(self, configured: Callable[[], DeviceModel], now_s: float, now_ns: int) -> None:
        """Take up what was kept, as far as the same is still asked; ``configured`` is called if anything was."""
        entries = [*self._kept()]
        config = configured() if entries else None
        for index, kept in entries:
            if config is not None and kept.asked == _asked(config, index):
                self._asked[index], self._statuses[index] = kept.asked, kept.status
                self._probation.restore(index, kept.pause_s, kept.due_s - now_ns / 1e9, now_s)

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to ``save``."""
        return self._is_changed

    def save(self, config: DeviceModel, now_s: float, now_ns: int) -> None:
        """Keep what changed."""
        self._is_changed = False
        if not self._statuses:
            self._state.pop(KEY, None)
            return
        kept = {}
        for index in sorted(self._statuses)[:MAX_KEPT]:
            asked = self._asked[index] = self._asked.get(index) or _asked(config, index)
            pause_s, due_s = self._probation[index]
            utc_s = round(now_ns / 1e9 + due_s - now_s, 3)
            kept[self._names[index]] = _Kept(asked, pause_s, utc_s, self._statuses[index])
        self._state[KEY] = msgspec.json.encode(kept).decode()

    def failed(self, index: int, status: int, now_s: float) -> None:
        """Leave a point alone for a while, or for longer than the last time."""
        if self.is_due(index, now_s):
            self._probation.failed(index, now_s)
            self._statuses[index] = status
            self._is_changed = True

    def passed(self, points: Iterable[int]) -> None:
        """Forget points that the device gave."""
        for index in self._statuses.keys() & set(points):
            self._probation.passed(index)
            del self._statuses[index]
            self._asked.pop(index, None)
            self._is_changed = True

    def forget(self) -> None:
        """Forget all of them."""
        self.passed(tuple(self._statuses))
        self._state.pop(KEY, None)
        self._is_changed = False

    def is_due(self, index: int, now_s: float) -> bool:
        """Return whether a point is asked for; one that is not refused always is."""
        return self._probation.is_due(index, now_s)

    def due_s(self, index: int) -> float:
        """Return the control time from which on a refused point is asked for again."""
        return self._probation[index].due_s

    def status(self, index: int) -> int:
        """Return the Bad status of a refused point."""
        return self._statuses[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._statuses)

    def __len__(self) -> int:
        return len(self._statuses)

    def _kept(self) -> Iterator[tuple[int, _Kept]]:
        try:
            kept = msgspec.json.decode(self._state.get(KEY, "{}"), type=dict[str, _Kept])
        except msgspec.DecodeError:  # nobody of ours wrote it
            return
        indexes = {name: index for index, name in enumerate(self._names)} if kept else {}
        for name, entry in kept.items():
            if name in indexes:
                yield indexes[name], entry


def _asked(config: DeviceModel, index: int) -> str:
    """Return what stands for all that decides what a driver asks for one point, and of whom."""
    device = config.model_dump_json(exclude=set(DeviceModel.model_fields))
    point = config.points[index].model_dump_json(exclude=set(PointModel.model_fields))
    return hashlib.sha256(f"{device}\n{point}".encode()).hexdigest()[:16]
