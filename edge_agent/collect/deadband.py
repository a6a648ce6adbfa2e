"""Drops changes that are too small to be kept. Pure."""

import math
from collections.abc import Sequence

from edge_agent.model import Column, Deadband, PointTable, ReadingBatch, is_bad

_Kept = tuple[object, int, float]  # value, status, control time


class DeadbandFilter:
    """The deadbands of one device and what was kept last.

    A reading is kept if it is the first one, its status changed, its value moved by more than the band (any
    change at all for text and booleans), or the point was silent for ``max_silence_s``. The band is compared with
    the last *kept* value, so that a slow drift is not lost.
    """

    def __init__(self, table: PointTable) -> None:
        self._bands = _bands(table)
        self._kept: dict[int, _Kept] = {}

    def take(self, table: PointTable) -> None:
        """Go by ``table``, which has the same points; the next reading of one with another deadband is kept."""
        bands = _bands(table)
        self._kept = {index: kept for index, kept in self._kept.items() if bands.get(index) == self._bands[index]}
        self._bands = bands

    def apply(self, batch: ReadingBatch, now_s: float) -> ReadingBatch:
        """Return ``batch`` without the readings that are too little news; the same object if none is.

        Args:
            batch: what an exchange gave.
            now_s: control time of the exchange; ``max_silence_s`` counts in it.
        """
        if not self._bands:
            return batch
        columns: list[Column] = []
        changed = False
        for column in batch.columns:
            positions = self._kept_positions(column, now_s)
            if len(positions) == len(column):
                columns.append(column)
                continue
            changed = True
            if positions:
                columns.append(column.take(positions))
        if not changed:
            return batch
        return ReadingBatch(batch.device, batch.time_ns, tuple(columns), batch.refused)

    def _kept_positions(self, column: Column, now_s: float) -> Sequence[int]:
        bands = self._bands
        positions = []
        for position, index in enumerate(column.points):
            band = bands.get(index)
            if band is None:
                positions.append(position)
                continue
            status = 0 if column.statuses is None else column.statuses[position]
            value = None if column.values is None or is_bad(status) else column.values[position]
            if self._is_news(index, band, value, status, now_s):
                self._kept[index] = (value, status, now_s)
                positions.append(position)
        return positions

    def _is_news(self, index: int, band: Deadband, value: object, status: int, now_s: float) -> bool:
        last = self._kept.get(index)
        if last is None:
            return True
        last_value, last_status, last_s = last
        if status != last_status or now_s - last_s >= band.max_silence_s:
            return True
        if not isinstance(value, int | float) or not isinstance(last_value, int | float):
            return value != last_value
        width = max(band.absolute, abs(last_value) * band.percent / 100)
        change = abs(value - last_value)
        return change > width or math.isnan(change)


def _bands(table: PointTable) -> dict[int, Deadband]:
    return {index: point.deadband for index, point in enumerate(table.points) if point.deadband is not None}
