"""The metrics of one device."""

from edge_agent.collect.options import DeviceOptions
from edge_agent.metrics import Metrics
from edge_agent.model import ReadingBatch


class DeviceMetrics:
    """Resolved once."""

    def __init__(self, metrics: Metrics, options: DeviceOptions) -> None:
        device, protocol = options.id, options.spec.protocol
        self.up = metrics.device_up.labels(device)
        self.connects = metrics.connects.labels(device)
        self.losses = metrics.losses.labels(device)
        self.gaps = metrics.device_gaps.labels(device)
        self.lost_readings = metrics.device_lost.labels(device)
        self.backfilled = metrics.backfilled.labels(device)
        self.crashes = metrics.driver_crashes.labels(device)
        self.exchanges = metrics.exchanges.labels(device)
        self.exchange_failures = metrics.exchange_failures.labels(device)
        self.refused_points = metrics.refused_points.labels(device)
        self.overruns = metrics.overruns.labels(device)
        self.readings = metrics.readings.labels(device)
        self.readings_bad = metrics.readings_bad.labels(device)
        self.readings_suppressed = metrics.readings_suppressed.labels(device)
        self.last_reading = metrics.last_reading.labels(device)
        self.exchange_seconds = metrics.exchange_seconds.labels(protocol)
        self.lateness_seconds = metrics.lateness_seconds.labels(protocol)

    def count(self, batch: ReadingBatch, kept: ReadingBatch) -> None:
        """Count what a device gave and what of it was kept."""
        count = len(batch)
        self.readings.inc(count)
        self.last_reading.set(batch.time_ns / 1e9)
        bad = sum(
            sum(status >> 31 for status in column.statuses)
            for column in batch.columns
            if column.statuses is not None
        )
        if bad:
            self.readings_bad.inc(bad)
        if kept is not batch:
            self.readings_suppressed.inc(count - len(kept))
