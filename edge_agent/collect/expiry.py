"""Watches the certificates that the agent depends on, and warns before one of them ends."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from edge_agent.certificates import certificates_in
from edge_agent.clock import Clock
from edge_agent.edge_log import EdgeLog
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 3600.0
WARN_DAYS = 60
REMIND_EVERY_S = 7 * 86400.0
DAY_NS = 86400 * 10**9
NO_DEVICE = DeviceId("")
"""Whose certificates are those in files that the configuration names; they go by their path."""


class Expiries:
    """The ends that drivers told of, and those of files.

    A metric for each; a warning from ``WARN_DAYS`` before, again each week.
    """

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._gauge = metrics.certificate_expires
        self._clock = clock
        self._told: dict[tuple[DeviceId, str], tuple[int, str]] = {}
        self._logs: dict[tuple[DeviceId, str], EdgeLog] = {}
        self._files: Sequence[Path] = ()

    def tell(self, device: DeviceId, certificate: str, time_ns: int, remedy: str) -> None:
        """Take the word of a driver; see ``Context.expires``."""
        key = (device, certificate)
        self._told[key] = (time_ns, remedy)
        self._gauge.labels(device, certificate).set(time_ns / 1e9)
        self._look_at(key)

    def forget(self, device: DeviceId) -> None:
        """Forget the certificates of a device that goes; it tells of them anew when it comes back."""
        for key in [key for key in self._told if key[0] == device]:
            self._forget(key)

    async def watch(self, files: Sequence[Path]) -> None:
        """Look at the certificates in ``files`` from now on, and no longer at those of the call before."""
        self._files = files
        ends = await asyncio.to_thread(_ends, files)
        for device, path in [key for key in self._told if key[0] == NO_DEVICE and key[1] not in ends]:
            self._forget((device, path))
        for path, time_ns in ends.items():
            self.tell(NO_DEVICE, path, time_ns, "renew it; the agent takes the new file up by itself")

    def soon(self) -> list[dict[str, object]]:
        """Return the certificates that end within ``WARN_DAYS`` or have ended, as JSON-ready data, in order."""
        now_ns = self._clock.now_ns()
        return [
            {"device": device or "gateway", "certificate": certificate, "ends_ns": time_ns, "remedy": remedy}
            for (device, certificate), (time_ns, remedy) in sorted(self._told.items(), key=lambda one: one[1])
            if time_ns - now_ns < WARN_DAYS * DAY_NS
        ]

    async def run(self) -> NoReturn:
        """Task ``expiries``, until cancelled: a session may outlast the certificate that it began with."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            if self._files:
                await self.watch(self._files)
            for key in self._told:
                self._look_at(key)

    def _forget(self, key: tuple[DeviceId, str]) -> None:
        del self._told[key], self._logs[key]
        self._gauge.remove(*key)

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


def _ends(files: Sequence[Path]) -> Mapping[str, int]:
    """Return when the first certificate in each file ends, in UTC nanoseconds; files without one are left out."""
    ends = {}
    for file in files:
        try:
            certificates = certificates_in(file)
        except OSError:
            continue  # who needs it says so
        if certificates:
            end_s = min(certificate.not_valid_after_utc.timestamp() for certificate in certificates)
            ends[str(file)] = round(end_s) * 10**9
    return ends
