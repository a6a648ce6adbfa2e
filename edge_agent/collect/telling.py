"""What is told of a device besides its readings: what it lost, and what it does otherwise than it was asked."""

import logging
from collections.abc import Callable

from edge_agent.clock import Clock
from edge_agent.collect.device_metrics import DeviceMetrics
from edge_agent.collect.options import DeviceOptions
from edge_agent.current import DeviceCurrent
from edge_agent.driver import Remarking, Session
from edge_agent.edge_log import EdgeLog
from edge_agent.model import LossReason, Lost, PointTable, ReadingBatch, is_good

_log = logging.getLogger("edge_agent.collect.supervisor")
NAMED_IN_LOG = 5
MAX_REMARKS_LOGGED = 50  # of one device; one that says something else each time is not worth more of the log

Lose = Callable[[PointTable, Lost], None]
"""Takes note of what a device lost, for a gap record."""


class Telling:
    """Of one device, over all of its sessions.

    Args:
        current: shows remarks.
        lose: where losses at the device go.
    """

    def __init__(
        self, options: DeviceOptions, current: DeviceCurrent, metrics: DeviceMetrics, lose: Lose, clock: Clock
    ) -> None:
        self._options = options
        self._current = current
        self._metrics = metrics
        self._lose = lose
        self._told: set[str] = set()
        self._rejected: set[int] = set()
        self._gaps = EdgeLog(_log, clock.monotonic_s, device=options.id)

    @property
    def rejected(self) -> int:
        """How many of the points that a session reports the device refuses."""
        return len(self._rejected)

    def connected(self, session: Session) -> None:
        """Show what a new session has to say of the device."""
        self._rejected.clear()
        self.remarked(session)

    def remarked(self, session: object) -> None:
        """Show what the device does otherwise than asked, and log each remark once, the first few of a device."""
        self._current.remarks = tuple(session.remarks) if isinstance(session, Remarking) else ()
        for remark in self._current.remarks:
            if remark not in self._told and len(self._told) < MAX_REMARKS_LOGGED:
                self._told.add(remark)
                about = {"device": self._options.id, "remark": remark}
                _log.warning("the device does not do as asked", extra=about)
                if len(self._told) == MAX_REMARKS_LOGGED:
                    more = "more that the device does otherwise than asked is shown by `edge-agent devices` alone"
                    _log.warning(more, extra={"device": self._options.id, "remarks": MAX_REMARKS_LOGGED})

    def reported(self, batch: ReadingBatch) -> None:
        """Take note of what the device refuses and of what it refuses no longer."""
        if self._rejected:
            self._rejected -= {point for point, status in batch.statuses().items() if is_good(status)}
        self._rejected |= batch.refused

    def lost(self, lost: Lost) -> None:
        """Say that the device lost readings: the first time in the log, each time as a gap record."""
        self._metrics.gaps.inc()
        self._metrics.lost_readings.inc(lost.readings)
        self._lose(self._options.table, lost)
        if lost.reason is not LossReason.OUTAGE:  # the loss of the session is in the log
            names = [self._options.table.names[index] for index in lost.points[:NAMED_IN_LOG]]
            told = "the device lost readings; see `edge-agent outbox losses`"
            self._gaps.failed(told, reason=lost.reason.value, readings=lost.readings, points=names)
