"""Talks to the service manager: sd_notify(3) over ``$NOTIFY_SOCKET``, without a library.

Without a service manager everything here does nothing.
"""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from edge_agent.clock import Clock
from edge_agent.edge_log import EdgeLog

_log = logging.getLogger(__name__)

_IDLE_TURN_S = 5.0
_PATIENCE_S = 30.0
_PATIENCE_MAX_S = 1800.0
_UNSENT_MAX = 16


class Notifier:
    """The agent's side of the conversation; messages that do not get through are sent again by ``run``.

    Args:
        address: what ``$NOTIFY_SOCKET`` says; empty = there is no service manager.
        watchdog_s: longest time without a sign of life; 0 = no watchdog.
        live: reasons why the agent is not alive, fed by the progress of its tasks; empty = alive. While there
            is one, the watchdog gets no sign, and the manager ends and restarts the agent.
        status: one line for ``systemctl status``; sent when it changes.
    """

    def __init__(
        self,
        address: str,
        watchdog_s: float,
        *,
        live: Callable[[], list[str]],
        clock: Clock,
        status: Callable[[], str] | None = None,
    ) -> None:
        self._clock = clock
        self._live = live
        self._status = status
        self._last_status = ""
        self._address = _address(address)
        self._watchdog_s = watchdog_s
        self._unsent: deque[bytes] = deque(maxlen=_UNSENT_MAX)
        self._trouble = EdgeLog(_log, clock.monotonic_s)
        self._stuck = EdgeLog(_log, clock.monotonic_s)

    @classmethod
    def from_environment(
        cls,
        *,
        live: Callable[[], list[str]],
        clock: Clock,
        status: Callable[[], str] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> "Notifier":
        """Take the address and the watchdog's time from where the service manager put them."""
        return cls(environ.get("NOTIFY_SOCKET", ""), _watchdog_s(environ), live=live, clock=clock, status=status)

    @property
    def turn_s(self) -> float:
        """Seconds between two turns of ``run``: half of what the watchdog allows, sd_watchdog_enabled(3)."""
        return min(_IDLE_TURN_S, self._watchdog_s / 2) if self._watchdog_s else _IDLE_TURN_S

    def ready(self) -> None:
        """Start-up, or a reload, is done."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; ``ready`` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={round(self._clock.monotonic_s() * 1e6)}")

    def stopping(self) -> None:
        """The agent is on its way out."""
        self._send("STOPPING=1")

    def extend_timeout(self, seconds: float) -> None:
        """Ask for ``seconds`` from now to start, stop or sign of life, while a long recovery goes on."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Ask for more time to start or stop as long as the body takes, half an hour at most."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _PATIENCE_MAX_S
        timer: asyncio.Handle

        def ask() -> None:
            nonlocal timer
            self.extend_timeout(_PATIENCE_S)
            if loop.time() < until_s:
                timer = loop.call_later(_PATIENCE_S / 2, ask)

        timer = loop.call_soon(ask)
        try:
            yield
        finally:
            timer.cancel()

    async def run(self) -> NoReturn:
        """Task ``systemd``: say READY, then tell the status and feed the watchdog while alive, until cancelled.

        Start it when the agent is ready. A cancellation says STOPPING.
        """
        self.ready()
        try:
            while True:
                self._flush()
                if not self._unsent:
                    self._tell_status()
                    self._feed_watchdog()
                await self._clock.sleep(self.turn_s)
        finally:
            self.stopping()

    def _tell_status(self) -> None:
        status = " ".join(self._status().split()) if self._status else ""
        if status != self._last_status:
            self._last_status = status
            self._send(f"STATUS={status}")

    def _feed_watchdog(self) -> None:
        if not self._watchdog_s:
            return
        if reasons := self._live():
            self._stuck.failed("no progress: the watchdog gets no sign of life", reasons=reasons)
            return
        self._stuck.recovered("progress again: the watchdog gets its sign of life")
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is not None:
            self._unsent.append("\n".join(lines).encode())
            self._flush()

    def _flush(self) -> None:
        """Send what waits, in order; never blocks."""
        if not self._unsent or self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(0)
                while self._unsent:
                    sock.sendto(self._unsent[0], self._address)
                    self._unsent.popleft()
        except OSError as exc:
            self._trouble.failed("cannot reach the service manager", error=str(exc), socket=self._address)
        else:
            self._trouble.recovered("the service manager can be reached again")


def _address(text: str) -> str | None:
    """Return the socket's address for ``sendto``; ``@`` means the abstract namespace."""
    if not text:
        return None
    if text[0] not in "/@":
        _log.warning("NOTIFY_SOCKET is neither a path nor abstract; not used", extra={"socket": text})
        return None
    return "\0" + text[1:] if text[0] == "@" else text


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """Return the longest time without a sign of life in seconds, 0 without a watchdog for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() else 0.0
