"""Fetches what a server kept of an outage (OPC 10000-11 §6.5.3), of the variables that it keeps a history of."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
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
from edge_agent_opcua.services import Services
from edge_agent_opcua.translation import one_exchange

HISTORY_READ = 0x04  # of AccessLevelType (OPC 10000-3 §8.57)
MAX_IDLE_PARTS = 16  # in a row that promise more of a point and hold nothing later than the ones before
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class History:
    """What one session fetches.

    Args:
        patience_s: for each request.
        delivered: what was told already.
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
    ) -> None:
        self._device = device
        self._url = url
        self._services = services
        self._decoder = decoder
        self._delivered = delivered
        self._clock = clock
        self._patience_s = patience_s

    async def kept(self, node_ids: Mapping[int, Any]) -> frozenset[int]:
        """Return the points, of those with these nodes, of which the server keeps a history that we may read."""
        points = list(node_ids)
        with one_exchange(self._url, "asking what has a history"):
            async with asyncio.timeout(self._patience_s):
                levels = await self._services.attributes(
                    [node_ids[point] for point in points], ua.AttributeIds.UserAccessLevel
                )
        told = (level.Value.Value if level.Value is not None else 0 for level in levels)
        return frozenset(
            point
            for point, level in zip(points, told, strict=True)
            if isinstance(level, int) and level & HISTORY_READ
        )

    async def fetch(self, node_ids: Mapping[int, Any], from_ns: int, to_ns: int, emit: Emit) -> frozenset[int]:
        """Report what the server kept of points, marked as historical; return those of which some may be missing.

        That is what the server refuses, or promises again and again and does not give.

        Args:
            node_ids: by point.
            from_ns: source time from which it is wanted.
            to_ns: source time before which it is wanted.
            emit: takes the readings.

        Raises:
            DeviceUnavailableError: the session is dead.
        """
        refused: set[int] = set()
        told, fetched_ns = self._delivered.of(node_ids), self._delivered.fetched_ns
        latest_ns = dict.fromkeys(node_ids, 0)
        idle = dict.fromkeys(node_ids, 0)  # parts

        def is_new(point: int, at_ns: int) -> bool:
            if at_ns > latest_ns[point]:
                latest_ns[point] = at_ns
                idle[point] = 0
            is_wanted = from_ns <= at_ns < to_ns and at_ns > fetched_ns.get(point, 0)
            return is_wanted and (point, at_ns) not in told

        for points in self._services.history_portions(list(node_ids)):
            asked: list[tuple[int, bytes | None]] = [(point, None) for point in points]
            while asked:
                for point, _ in asked:
                    idle[point] += 1
                nodes = [(node_ids[point], more) for point, more in asked]
                try:
                    with one_exchange(self._url, "reading history"):
                        async with asyncio.timeout(self._patience_s):
                            parts = await self._services.history(nodes, _time(from_ns), _time(to_ns))
                        batch = self._batch([point for point, _ in asked], parts, is_new)
                except ExchangeError:
                    refused.update(point for point, _ in asked)
                    break
                if len(batch):
                    await emit(batch)
                    for column in batch.columns:  # of one point each, oldest first
                        fetched_ns[column.points[0]] = batch.time_ns + (column.offsets_ns or [0])[-1]
                answers = list(zip(asked, parts, strict=True))
                refused.update(point for (point, _), part in answers if part.is_bad)
                going_on = [(point, part.more) for (point, _), part in answers if part.more and not part.is_bad]
                asked = [(point, more) for point, more in going_on if idle[point] < MAX_IDLE_PARTS]
                refused.update(point for point, _ in going_on if idle[point] >= MAX_IDLE_PARTS)
        return frozenset(refused)

    def _batch(
        self, points: Sequence[int], parts: Sequence[HistoryPart], is_new: Callable[[int, int], bool]
    ) -> ReadingBatch:
        time_ns = self._clock.now_ns()
        columns = []
        for point, part in zip(points, parts, strict=True):
            values = part.values
            if values is not None and len(values):
                for column in self._decoder.read(time_ns, [point] * len(values), [values]):
                    offsets_ns = column.offsets_ns or repeat(0, len(column))
                    new = [i for i, offset_ns in enumerate(offsets_ns) if is_new(point, time_ns + offset_ns)]
                    columns += [column.take(new)] if new else []
        return ReadingBatch(self._device, time_ns, tuple(columns), historical=True)


def _time(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // 1000)
