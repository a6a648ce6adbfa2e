"""The running agent's part in the audit log: what it does itself, and what it is asked for."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from aiohttp import web

from edge_agent.audit.chain import SUDO_HEADER, Actor
from edge_agent.audit.log import AuditError, AuditLog
from edge_agent.clock import Clock
from edge_agent.edge_log import EdgeLog
from edge_agent.errors import EdgeAgentError
from edge_agent.metrics import Metrics

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid, unix(7)
_MAX_NAME, _MAX_WHY = 64, 500


class Auditor:
    """Writes the audit log on threads, and knows its head for those who tell it outside."""

    def __init__(self, state: Path, clock: Clock, metrics: Metrics) -> None:
        self._audit = AuditLog(state, clock)
        self._clock = clock
        self._metrics = metrics
        self._trouble = EdgeLog(_log, clock.monotonic_s)

    def head(self) -> str | None:
        """Return the end of the chain, ``sequence:hash``; None before it was seen."""
        return None if self._audit.head is None else str(self._audit.head)

    async def run(self) -> NoReturn:
        """Task ``audit``: follow what other processes append, and notice if entries go."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            try:
                await asyncio.to_thread(self._audit.look)
            except AuditError as exc:
                self._failed(exc)
            else:
                self._written()

    async def tell(self, act: str, about: Mapping[str, object]) -> None:
        """Record what the agent did; a disk that takes nothing does not stop it, but is logged and counted."""
        await asyncio.to_thread(self.note, act, about)

    def note(self, act: str, about: Mapping[str, object]) -> None:
        """As ``tell``, on the thread that calls. Blocks."""
        self._record(act, "done", Actor(os.getuid(), os.getpid()), about)

    async def started(self, config: Path, digest: str, version: str) -> None:
        """Record the start, and that the configuration is another one than at the last start."""
        before = await asyncio.to_thread(self._last_digest)
        about = {"version": version, "config": str(config), "hash": digest}
        await self.tell("agent.start", about)
        if before not in {None, digest}:
            await self.tell("config.changed", {"config": str(config), "from": before, "to": digest})

    async def carry_out(
        self, act: str, actor: Actor, about: Mapping[str, object], doing: Callable[[], Awaitable[object]]
    ) -> object:
        """Record what somebody asked for, do it, and record how it ended; a cancelled one has no end.

        An answer with ``ok: false`` is a failure, too.

        Raises:
            AuditError: it cannot be recorded, and is not done.
        """
        try:
            begun = await asyncio.to_thread(self._audit.record, act, "begun", actor, about)
        except AuditError as exc:
            self._failed(exc)
            raise
        self._written()
        ending: dict[str, object] = {"begun": begun.seq}
        outcome = "failed"
        try:
            told = await doing()
            if not (isinstance(told, dict) and told.get("ok") is False):
                outcome = "done"
        except EdgeAgentError as exc:
            ending["why"] = str(exc)[:_MAX_WHY]
            raise
        finally:
            if (task := asyncio.current_task()) is None or not task.cancelling():
                await asyncio.to_thread(self._record, act, outcome, actor, ending)
        return told

    def _last_digest(self) -> object:
        try:
            key = {"agent.start": "hash", "config.changed": "to"}
            digests = [entry.about.get(key[entry.act]) for entry in self._audit.entries() if entry.act in key]
        except AuditError:
            return None
        return digests[-1] if digests else None

    def _record(self, act: str, outcome: str, actor: Actor, about: Mapping[str, object]) -> None:
        try:
            self._audit.record(act, outcome, actor, about)
        except AuditError as exc:
            self._failed(exc)
        else:
            self._written()

    def _failed(self, exc: AuditError) -> None:
        self._metrics.audit_failures.inc()
        self._trouble.failed("the audit log cannot be written", error=str(exc))

    def _written(self) -> None:
        self._trouble.recovered("the audit log is written again")
        if self._audit.head is not None:
            self._metrics.audit_entries.set(self._audit.head.seq)


def actor_of(request: web.Request) -> Actor:
    """Return who asks over the control socket, as the kernel knows it (SO_PEERCRED)."""
    peer = request.transport.get_extra_info("socket") if request.transport is not None else None
    if peer is None or peer.family != socket.AF_UNIX:
        return Actor(-1, -1)
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    name = unquote(request.headers.get(SUDO_HEADER, "")) if uid == 0 else ""
    return Actor(uid, pid, name[:_MAX_NAME])
