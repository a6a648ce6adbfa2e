"""The running agent: builds every part from the options and starts and stops them in order."""

import asyncio
import logging
import random
import sqlite3
import ssl
from collections.abc import Callable, Sequence

from edge_agent import __version__
from edge_agent.clock import Clock, SystemClock
from edge_agent.collect.expiry import Expiries
from edge_agent.collect.fleet import Fleet
from edge_agent.collect.options import DeviceOptions
from edge_agent.config.changes import Changes
from edge_agent.config.options import AgentOptions
from edge_agent.current import Current, DevicePhase
from edge_agent.identify.assign import Assignments
from edge_agent.identify.lockfile import FILE_NAME
from edge_agent.metrics import Metrics
from edge_agent.model import PublisherId
from edge_agent.model.quality import quality_name
from edge_agent.ops import logs
from edge_agent.ops.actions import Actions
from edge_agent.ops.auditor import Auditor
from edge_agent.ops.clock_watch import ClockWatch
from edge_agent.ops.device_actions import DeviceActions
from edge_agent.ops.http import OpsServer
from edge_agent.ops.line_loans import LineLoans
from edge_agent.ops.loop_lag import LoopLag
from edge_agent.ops.server_certificate import server_context
from edge_agent.ops.systemd import Notifier
from edge_agent.ops.view import Sources, View
from edge_agent.outbox.inspect import losses
from edge_agent.outbox.recovery import FILE_NAME as OUTBOX_FILE
from edge_agent.outbox.store import Outbox
from edge_agent.publish.publisher import Publisher
from edge_agent.publish.publishers import Publishers

_log = logging.getLogger(__name__)

STALLED_AFTER_S = 20.0
SHOWN_LOSSES = 20
_SYSTEM_CLOCK = SystemClock()


class Agent:
    """One gateway's agent. ``run`` may be called once.

    Attributes:
        ready: set when the outbox is open and every task runs.
        actions: what may be asked for over the control socket; filled before ``run``.
        codes: None without an ``identifiers:`` section.
        why_last_good: what is wrong with the file, while the last good configuration runs instead; else empty.
        notifier: the way to the service manager, None before ``run`` has come so far.
        found: called when devices say of their points something else than what they were built with; set it before
            ``run``.
    """

    def __init__(
        self,
        options: AgentOptions,
        *,
        why_last_good: str = "",
        clock: Clock = _SYSTEM_CLOCK,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.options = options
        self.metrics = Metrics()
        self.current = Current(clock)
        self.ready = asyncio.Event()
        self.auditor = Auditor(options.outbox.directory, clock, self.metrics)
        self.actions = Actions(self.auditor)
        self.codes: Assignments | None = None
        self.why_last_good = why_last_good
        self.notifier: Notifier | None = None
        self.found: Callable[[], None] = lambda: None
        self._clock = clock
        self._jitter = jitter
        self._outbox: Outbox | None = None
        self._publishers: Publishers | None = None
        self._fleet: Fleet | None = None
        self._server: OpsServer | None = None
        self._started_ns = clock.now_ns()
        self._expiries = Expiries(self.metrics, clock)

    @property
    def outbox(self) -> Outbox:
        """The outbox; there once ``ready`` is set."""
        if self._outbox is None:
            raise RuntimeError("the agent does not run yet")
        return self._outbox

    async def run(self) -> None:
        """Run until cancelled.

        A cancellation stops the devices first, then the publishers, then commits what is left; readings that were
        taken are on disk when it is done.

        Raises:
            OutboxError: the outbox cannot be opened, or failed in a way that only a restart mends.
            IdentifierError: the codes cannot be assigned as configured.
        """
        options = self.options
        self.codes = await self._open_codes(options)
        ids, starts_now = _destinations(options)
        self.notifier = notifier = Notifier.from_environment(
            live=self.not_live, clock=self._clock, status=self.status_line
        )
        with notifier.patience():  # after a power cut there may be much to look through
            self._outbox = outbox = await Outbox.open(
                options.outbox, ids, clock=self._clock, metrics=self.metrics, starts_now=starts_now
            )
        fleet, publishers = self._fleet, self._publishers = self._make_fleet(outbox), self._make_publishers(outbox)
        fleet.news = self.found
        try:
            self._announce()
            await self.auditor.started(options.source, options.digest, __version__)
            LineLoans(fleet).offer(self.actions)
            DeviceActions(fleet, lambda device: self._device_status(fleet[device].options)).offer(self.actions)
            server = self._server = OpsServer(
                options.ops,
                self.metrics.registry,
                view=View(self._sources(), self._clock),
                live=self.not_live,
                ready=self.not_ready,
                actions=self.actions,
                clock=self._clock,
            )
            await self._expiries.watch(options.watched)
            async with asyncio.TaskGroup() as ground:
                ground.create_task(outbox.run(), name="outbox")
                ground.create_task(server.run(), name="ops")
                ground.create_task(self._expiries.run(), name="expiries")
                ground.create_task(self.auditor.run(), name="audit")
                ground.create_task(LoopLag(self.metrics, self._clock).run(), name="loop-lag")
                if isinstance(self._clock, SystemClock):
                    ground.create_task(ClockWatch(self.metrics, self._clock).run(), name="clock")
                await server.started.wait()
                async with publishers.running(), fleet.running(), asyncio.TaskGroup() as service:
                    # Before the drivers: one that sticks is the watchdog's from its first line on.
                    service.create_task(notifier.run(), name="systemd")
                    publishers.start(options.publishers, self.codes)
                    fleet.start(options.devices)
                    self.ready.set()
                    await asyncio.Event().wait()
        finally:
            with notifier.patience():
                await outbox.close()
            await self.auditor.tell("agent.stop", {})

    async def apply(self, options: AgentOptions, changes: Changes) -> None:
        """Go on with ``options``; only what is in ``changes`` is touched. One call at a time.

        Readings that were taken stay where they are; a publisher that is replaced has said goodbye before the new
        one connects.

        Raises:
            EdgeAgentError: the certificate and key of the pages cannot be used.
            OutboxError: the disk takes no writes now, and publishers or bounds of the outbox change.
            IdentifierError: the codes cannot be assigned as configured.

        After an error nothing has changed. A cancellation may leave parts stopped: the agent ends.
        """
        outbox, fleet, publishers = self.outbox, self._fleet, self._publishers
        if fleet is None or publishers is None:
            raise RuntimeError("the agent does not run yet")
        context = await asyncio.to_thread(server_context, options.ops) if changes.has_tls_of_pages else None
        is_outbox_touched = self.options.outbox != options.outbox or bool(
            changes.publishers.added or changes.publishers.removed
        )
        if is_outbox_touched:
            await outbox.flush()
        codes = await self._open_codes(options) if options.identifiers != self.options.identifiers else self.codes
        has_other_codes = codes is not self.codes
        if (
            has_other_codes
            and codes is not None
            and any(publisher.summary()["connected"] for publisher in publishers.values())
        ):
            await codes.freeze()
        async with asyncio.TaskGroup() as stopping:
            stopping.create_task(publishers.stop(changes.publishers.stopped), name="reload:publishers")
            stopping.create_task(fleet.stop(changes.devices.stopped), name="reload:devices")
        if is_outbox_touched:
            await outbox.reconfigure(options.outbox, *_destinations(options))
        self._take_up(options, codes, context)
        await self._expiries.watch(options.watched)
        for device in changes.devices.removed:
            fleet.forget(device)
        for gone in changes.publishers.removed:
            publishers.forget(gone)
        fleet.adjust([device for device in options.devices if device.id in changes.devices.adjusted])
        fleet.start([device for device in options.devices if device.id in changes.devices.started])
        if has_other_codes:
            for publisher in publishers.values():
                publisher.codes_changed()
        publishers.start([one for one in options.publishers if one.id in changes.publishers.started], self.codes)

    def _take_up(self, options: AgentOptions, codes: Assignments | None, context: ssl.SSLContext | None) -> None:
        """Make ``options`` those that every page and message tells of."""
        for setting in set(options.insecure) - set(self.options.insecure):
            _log.warning("insecure setting", extra={"setting": setting})
        if options.ops.log_level != self.options.ops.log_level:
            logs.set_level(options.ops.log_level)
        if self._server is not None:
            self._server.take_up(options.ops.token, context)
        if codes is None or self.codes is None:
            self.codes = codes
        elif codes is not self.codes:
            self.codes.adopt(codes)
        self.metrics.info.clear()
        self.options = options
        self._tell_info()

    async def stop_collecting(self) -> None:
        """Stop the devices and return when they are closed; ``run`` goes on publishing what was taken.

        A cancelled call has stopped them all the same.
        """
        if self._fleet is not None:
            await self._fleet.stop()

    def head(self) -> dict[str, object]:
        """Return everything of ``/status`` but the devices, as JSON-ready data."""
        clock = self._clock
        return {
            "gateway": self.options.gateway,
            "name": self.options.gateway_name,
            "version": __version__,
            "config": {
                "file": str(self.options.source),
                "hash": self.options.digest,
                "why_last_good": self.why_last_good,
            },
            "code": self.codes.gateway_code() if self.codes else None,
            "started_ns": self._started_ns,
            "now_ns": self._clock.now_ns(),
            "insecure": list(self.options.insecure),
            "certificates": self._expiries.soon(),
            "audit": self.auditor.head(),
            "outbox": self._outbox.summary() if self._outbox else None,
            "publishers": [publisher.summary() for publisher in self._running_publishers()],
            "is_clock_set": clock.synced is not None if isinstance(clock, SystemClock) else None,
        }

    def status_line(self) -> str:
        """Return what ``systemctl status`` shows."""
        online = sum(device.phase is DevicePhase.ONLINE for device in self.current.values())
        connected = sum(bool(publisher.summary()["connected"]) for publisher in self._running_publishers())
        warning = "LAST GOOD CONFIGURATION, the file is broken; " if self.why_last_good else ""
        return warning + (
            f"{online}/{len(self.options.devices)} devices online, "
            f"{connected}/{len(self.options.publishers)} publishers connected"
        )

    def health(self) -> dict[str, object]:
        """Return the summary that publishers send every minute, for gateways that no Prometheus reaches."""
        phases = [device.phase for device in self.current.values()]
        return {
            "version": __version__,
            "config_hash": self.options.digest,
            **({"config_problem": self.why_last_good} if self.why_last_good else {}),
            "uptime_s": round((self._clock.now_ns() - self._started_ns) / 1e9),
            "devices": {phase.value: phases.count(phase) for phase in DevicePhase if phase in phases},
            "offline": {
                device: current.reason
                for device, current in self.current.items()
                if current.phase in {DevicePhase.OFFLINE, DevicePhase.FAILED}
            },
            "outbox": self._outbox.summary() if self._outbox else {},
            "audit": self.auditor.head(),
        }

    def not_live(self) -> list[str]:
        """Return what makes no progress although it must; empty = alive."""
        now_s = self._clock.monotonic_s()
        parts = [("publisher:" + publisher.id, publisher.tick_s) for publisher in self._running_publishers()]
        if self._outbox is not None:
            # It has a turn for each commit: alive until the next one, however far apart they are.
            parts.append(("outbox", self._outbox.tick_s + self.options.outbox.commit_interval_s))
        return [
            f"{name} made no progress for {now_s - tick_s:.0f} s"
            for name, tick_s in parts
            if self.ready.is_set() and now_s - tick_s > STALLED_AFTER_S
        ]

    def not_ready(self) -> list[str]:
        """Return what is missing before readings are safe; empty = ready. The broker does not count."""
        return [] if self.ready.is_set() else ["starting"]

    async def _open_codes(self, options: AgentOptions) -> Assignments | None:
        if options.identifiers is None:
            _log.warning(
                "no identifiers section: messages carry no identifier codes, and a platform cannot resolve whose "
                "machine a reading is from; see docs/identifiers.md"
            )
            return None
        directory = options.outbox.directory
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True, mode=0o750)
        return await asyncio.to_thread(
            Assignments.open,
            options.identifiers,
            directory / FILE_NAME,
            clock=self._clock,
            on_frozen=lambda codes: self.auditor.note("codes.frozen", codes),
        )

    def _announce(self) -> None:
        options = self.options
        self._tell_info()
        for setting in options.insecure:
            _log.warning("insecure setting", extra={"setting": setting})
        if not options.publishers:
            _log.warning("no publishers: readings are kept on disk and sent nowhere")
        _log.info(
            "agent starts",
            extra={"gateway": options.gateway, "devices": len(options.devices), "config": str(options.source)},
        )

    def _tell_info(self) -> None:
        options, metrics = self.options, self.metrics
        metrics.info.labels(__version__, options.digest, sqlite3.sqlite_version, options.gateway).set(1)
        metrics.identifiers_configured.set(options.identifiers is not None)
        metrics.is_last_good.set(bool(self.why_last_good))
        metrics.reload_time.set(self._clock.now_ns() / 1e9)

    def _make_fleet(self, outbox: Outbox) -> Fleet:
        return Fleet(
            outbox,
            self.current,
            self._expiries,
            self.options.outbox.directory,
            clock=self._clock,
            metrics=self.metrics,
            random=self._jitter,
        )

    def _make_publishers(self, outbox: Outbox) -> Publishers:
        return Publishers(outbox, health=self.health, clock=self._clock, metrics=self.metrics, random=self._jitter)

    def _running_publishers(self) -> Sequence[Publisher]:
        return () if self._publishers is None else tuple(self._publishers.values())

    def _sources(self) -> Sources:
        path = self.options.outbox.directory / OUTBOX_FILE
        return Sources(
            head=self.head,
            devices=lambda: self.options.devices,
            describe=self._device_status,
            current=self.current,
            code=lambda device: self.codes.device_code(device) if self.codes else None,
            losses=lambda: losses(path, limit=SHOWN_LOSSES),
        )

    def _device_status(self, options: DeviceOptions) -> dict[str, object]:
        current = self.current.get(options.id)
        if current is None:
            return {"id": options.id, "phase": DevicePhase.CONNECTING.value}
        points = []
        for index, point in enumerate(current.table.points):
            latest = current.latest(index)
            value = latest.value.hex() if isinstance(latest.value, bytes) else latest.value
            points.append(
                {
                    "name": point.name,
                    "value": value,
                    "unit": point.unit,
                    "range": point.limits,
                    "quality": quality_name(latest.status),
                    "time_ns": latest.time_ns,
                    "server_time_ns": latest.server_time_ns,
                }
            )
        return {
            "id": options.id,
            "name": options.name,
            "driver": options.spec.protocol,
            "code": self.codes.device_code(options.id) if self.codes else None,
            "phase": current.phase.value,
            "reason": current.reason,
            "remarks": list(current.remarks),
            "since_ns": current.since_ns,
            "points": points,
        }


def _destinations(options: AgentOptions) -> tuple[list[PublisherId], list[PublisherId]]:
    """Return the publishers, and those of them that get nothing of before when they come new."""
    publishers = options.publishers
    return [one.id for one in publishers], [one.id for one in publishers if one.starts_now]
