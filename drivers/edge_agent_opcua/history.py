"""Fetches what a server kept of an outage (OPC 10000-11 §6.5.3), of the variables that it keeps a history of."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

from asyncua import ua

from edge_agent.clock import Clock
from edge_agent.driver import Emit
from edge_agent.errors import ExchangeError
from edge_agent.model import DeviceId, ReadingBatch
from edge_agent_opcua.decode import Decoder
from edge_agent_opcua.delivered import Delivered
from edge_agent_opcua.responses import HistoryPart
from edge_agent_opcua.services import HISTORY_VALUES, Services
from edge_agent_opcua.translation import in_time, one_exchange

HISTORY_READ = 0x04  # of AccessLevelType (OPC 10000-3 §8.57)
MAX_IDLE_PARTS = 16  # in a row that promise more of a point and hold nothing later than the ones before
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class History:
    """What one session fetches.

    Args:
        delivered: what was told already.
        patience_s: for each request.
        limit_s: for a fetch as a whole.
    """

    def __init__(
        self,
        device: DeviceId,
        url: str,
        services: Services,
        decoder: Decoder,
        delivered: Delivered,
        clock: Clock,
        patience_s: float,
        limit_s: float,
    ) -> None:
        self._device = device
        self._url = url
        self._services = services
        self._decoder = decoder
        self._delivered = delivered
        self._clock = clock
        self._patience_s = patience_s
        self._limit_s = limit_s

    async def kept(self, node_ids: Mapping[int, Any]) -> frozenset[int]:
        """Return the points, of those with these nodes, of which the server keeps a history that we may read."""
        points = list(node_ids)
        with one_exchange(self._url, "asking what has a history"):
            async with in_time(self._patience_s):
                levels = await self._services.attributes(
                    [node_ids[point] for point in points], ua.AttributeIds.UserAccessLevel
                )
        told = (level.Value.Value if level.Value is not None else 0 for level in levels)
        return frozenset(
            point
            for point, level in zip(points, told, strict=True)
            if isinstance(level, int) and level & HISTORY_READ
        )

    async def fetch(
        self, node_ids: Mapping[int, Any], from_ns: int, to_ns: Mapping[int, int], emit: Emit
    ) -> frozenset[int]:
        """Report what the server kept of points, marked as historical; return those of which some may be missing.

        That is what the server refuses, promises again and again and does not give, or gives too slowly.

        Args:
            node_ids: by point.
            from_ns: source time from which it is wanted.
            to_ns: source time before which it is wanted, by point.
            emit: takes the readings.

        Raises:
            DeviceUnavailableError: the session is dead.
        """
        progress = _Progress(from_ns, to_ns, self._delivered)
        refused: set[int] = set()
        deadline_s = self._clock.monotonic_s() + self._limit_s
        end_ns = max(to_ns.values(), default=from_ns)
        work = [(points, from_ns) for points in self._services.history_portions(list(node_ids))]
        while work:
            points, start_ns = work.pop(0)
            asked: list[tuple[int, bytes | None]] = [(point, None) for point in points]
            while asked:
                left_s = deadline_s - self._clock.monotonic_s()
                if left_s <= 0:
                    late = {point for point, _ in asked} | {point for points, _ in work for point in points}
                    return frozenset(refused | late)
                nodes = [(node_ids[point], more) for point, more in asked]
                try:
                    with one_exchange(self._url, "reading history"):
                        async with in_time(min(self._patience_s, left_s)):
                            parts = await self._services.history(nodes, _time(start_ns), _time(end_ns))
                        batch = self._batch([point for point, _ in asked], parts, progress)
                except ExchangeError:
                    refused.update(point for point, _ in asked)
                    break
                if len(batch):
                    await emit(batch)
                    progress.note(batch)
                answers = {point: part for (point, _), part in zip(asked, parts, strict=True)}
                refused.update(point for point, part in answers.items() if part.is_bad)
                stuck = {point for point, part in answers.items() if part.more and progress.is_stuck(point)}
                refused |= stuck
                asked = [
                    (point, part.more)
                    for point, part in answers.items()
                    if part.more and not part.is_bad and point not in stuck
                ]
                for point in _cut_short(answers):
                    latest_ns = progress.latest_ns[point]
                    if latest_ns <= start_ns:
                        refused.add(point)
                    elif latest_ns < to_ns[point]:
                        work.append(([point], latest_ns))
        return frozenset(refused)

    def _batch(self, points: Sequence[int], parts: Sequence[HistoryPart], progress: "_Progress") -> ReadingBatch:
        time_ns = self._clock.now_ns()
        columns = []
        for point, part in zip(points, parts, strict=True):
            progress.answered(point)
            values = part.values
            if values is not None and len(values):
                for column in self._decoder.read(time_ns, [point] * len(values), [values]):
                    offsets_ns = column.offsets_ns or repeat(0, len(column))
                    new = [
                        i for i, offset_ns in enumerate(offsets_ns) if progress.is_new(point, time_ns + offset_ns)
                    ]
                    columns += [column.take(new)] if new else []
        return ReadingBatch(self._device, time_ns, tuple(columns), historical=True)


class _Progress:
    """How far one fetch has come.

    Attributes:
        latest_ns: by point, the last source time that the server gave.
    """

    def __init__(self, from_ns: int, to_ns: Mapping[int, int], delivered: Delivered) -> None:
        self.latest_ns = dict.fromkeys(to_ns, 0)
        self._idle = dict.fromkeys(self.latest_ns, 0)  # parts
        self._from_ns = from_ns
        self._to_ns = to_ns
        self._told = delivered.of(self.latest_ns)
        self._fetched_ns = delivered.fetched_ns

    def answered(self, point: int) -> None:
        """A part of a point has come; ``is_new`` is asked of each of its values."""
        self._idle[point] += 1

    def is_new(self, point: int, at_ns: int) -> bool:
        """Return whether a value is wanted and was not told yet."""
        if at_ns > self.latest_ns[point]:
            self.latest_ns[point] = at_ns
            self._idle[point] = 0
        is_wanted = self._from_ns <= at_ns < self._to_ns[point] and at_ns > self._fetched_ns.get(point, 0)
        return is_wanted and (point, at_ns) not in self._told

    def note(self, batch: ReadingBatch) -> None:
        """Readings were told; each column is of one point, oldest first."""
        for column in batch.columns:
            self._fetched_ns[column.points[0]] = batch.time_ns + (column.offsets_ns or [0])[-1]

    def is_stuck(self, point: int) -> bool:
        """Return whether the server gave nothing later for too many parts."""
        return self._idle[point] >= MAX_IDLE_PARTS


def _cut_short(answers: Mapping[int, HistoryPart]) -> list[int]:
    """Return the points of which there may be more though the server does not say so.

    It has to (OPC 10000-11 §6.5.3.2). asyncua's server gives as many values as were asked for, and that is all.
    """
    return [
        point
        for point, part in answers.items()
        if not (part.is_bad or part.more) and part.values is not None and len(part.values) >= HISTORY_VALUES
    ]


def _time(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // 1000)
