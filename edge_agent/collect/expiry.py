"""Watches the certificates that devices depend on, and warns before one of them ends."""

import logging
from typing import NoReturn

from edge_agent.clock import Clock
from edge_agent.edge_log import EdgeLog
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 3600.0
WARN_DAYS = 60
REMIND_EVERY_S = 7 * 86400.0
DAY_NS = 86400 * 10**9


class Expiries:
    """The ends that drivers told of; a metric for each, a warning from ``WARN_DAYS`` before, again each week."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._gauge = metrics.certificate_expires
        self._clock = clock
        self._told: dict[tuple[DeviceId, str], tuple[int, str]] = {}
        self._logs: dict[tuple[DeviceId, str], EdgeLog] = {}

    def tell(self, device: DeviceId, certificate: str, time_ns: int, remedy: str) -> None:
        """Take the word of a driver; see ``Context.expires``."""
        key = (device, certificate)
        self._told[key] = (time_ns, remedy)
        self._gauge.labels(device, certificate).set(time_ns / 1e9)
        self._look_at(key)

    def forget(self, device: DeviceId) -> None:
        """Forget the certificates of a device that goes; it tells of them anew when it comes back."""
        for key in [key for key in self._told if key[0] == device]:
            del self._told[key], self._logs[key]
            self._gauge.remove(*key)

    def soon(self) -> list[dict[str, object]]:
        """Return the certificates that end within ``WARN_DAYS`` or have ended, as JSON-ready data, in order."""
        now_ns = self._clock.now_ns()
        return [
            {"device": device, "certificate": certificate, "ends_ns": time_ns, "remedy": remedy}
            for (device, certificate), (time_ns, remedy) in sorted(self._told.items(), key=lambda one: one[1])
            if time_ns - now_ns < WARN_DAYS * DAY_NS
        ]

    async def run(self) -> NoReturn:
        """Task ``expiries``, until cancelled: a session may outlast the certificate that it began with."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            for key in self._told:
                self._look_at(key)

    def _look_at(self, key: tuple[DeviceId, str]) -> None:
        time_ns, remedy = self._told[key]
        days_left = (time_ns - self._clock.now_ns()) // DAY_NS
        device, certificate = key
        if key not in self._logs:
            self._logs[key] = EdgeLog(
                _log,
                self._clock.monotonic_s,
                remind_every_s=REMIND_EVERY_S,
                device=device,
                certificate=certificate,
            )
        if days_left < WARN_DAYS:
            message = "a certificate ends soon" if days_left >= 0 else "a certificate has ended"
            self._logs[key].failed(message, days_left=days_left, remedy=remedy)
        else:
            self._logs[key].recovered("a certificate is valid for long again", days_left=days_left)
