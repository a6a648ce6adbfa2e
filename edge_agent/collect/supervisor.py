"""Keeps one device collected: connects, polls, reports its loss, comes back, and never ends by itself."""

import asyncio
import logging
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from edge_agent.backoff import Backoff
from edge_agent.clock import Clock
from edge_agent.collect.context import DeviceContext
from edge_agent.collect.deadband import DeadbandFilter
from edge_agent.collect.deadline import Deadline
from edge_agent.collect.device_metrics import DeviceMetrics
from edge_agent.collect.knowledge import told
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.refusals import KEY as REFUSALS_KEY
from edge_agent.collect.refusals import Refusals
from edge_agent.collect.schedule import Schedule, by_interval, phase_of
from edge_agent.collect.telling import Lose, Telling
from edge_agent.collect.unanswered import Unanswered
from edge_agent.current import DeviceCurrent, DevicePhase
from edge_agent.driver import Concurrent, Device, Finding, Request, Session
from edge_agent.edge_log import EdgeLog
from edge_agent.errors import DeviceUnavailableError, DriverError, ExchangeError, OutboxError, PointRejectedError
from edge_agent.metrics import Metrics
from edge_agent.model import (
    Column,
    DataType,
    DeviceId,
    PointTable,
    Quality,
    ReadingBatch,
    is_bad,
)
from edge_agent.together import only_cancelled_when_asked, together

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
STABLE_AFTER_S = 10.0
"""A session that was shorter does not shorten the next pause: a device that drops each one is not stormed."""
FIND_TIMEOUT_S = 600.0
"""For asking a device which points it has, beside everything else."""
CRASHES_ALLOWED = 5
CRASH_WINDOW_S = 3600.0

Sink = Callable[[PointTable, ReadingBatch], Awaitable[None]]
"""Takes readings towards the outbox; waits while it cannot take more."""


class DeviceSupervisor:
    """One device's task.

    Args:
        context: lent to the driver.
        sink: where readings go; ``Outbox.append``.
        lose: where losses at the device go.
        current: this device's part of the present.
        random: source of jitter, floats in [0, 1).
    """

    def __init__(
        self,
        options: DeviceOptions,
        context: DeviceContext,
        sink: Sink,
        lose: Lose,
        current: DeviceCurrent,
        *,
        clock: Clock,
        metrics: Metrics,
        random: Callable[[], float],
    ) -> None:
        self._options = options
        self._context = context
        self._sink = sink
        self._current = current
        self._clock = clock
        self._metrics = DeviceMetrics(metrics, options)
        self._backoff = Backoff(FIRST_PAUSE_S, options.retry_max_s, random)
        self._deadband = DeadbandFilter(options.table)
        self._all_points = tuple(range(len(options.table.points)))
        self._is_lost = False
        self._told_refused: set[int] = set()
        self._last_failure = ""
        self._last_quality = Quality.BAD_COMMUNICATION_ERROR
        self._unanswered = Unanswered(options.max_failures, options.retry_max_s)
        self._refused = Refusals(options.table.names, context.state)
        self._plans: list[Sequence[Request]] = []
        self._planned_for: tuple[AbstractSet[int], dict[str, str]] | None = None
        self._failures = 0
        self._silent_since_s: float | None = None  # begin of the first exchange after the last answer
        self._is_kept_off = False
        self._asked_s = clock.monotonic_s()
        self._partial = EdgeLog(_log, clock.monotonic_s, device=options.id)
        self._telling = Telling(options, current, self._metrics, lose, clock)
        self._edge = EdgeLog(_log, clock.monotonic_s, device=options.id)
        self._crashes: deque[float] = deque(maxlen=CRASHES_ALLOWED)

    @property
    def device(self) -> DeviceId:
        """Which one."""
        return self._options.id

    def adjust(self, options: DeviceOptions) -> None:
        """Go on with ``options`` from the next batch on, in the session that there is (see ``goes_on_as``)."""
        self._options = options
        self._deadband.take(options.table)
        self._current.table = options.table

    def known(self) -> dict[str, object]:
        """Return what was planned and learned, as JSON-ready data."""
        now_ns = self._clock.now_ns()
        every_s = self._options.intervals_s
        plan = ((request, every_s[request.points[0]]) for plan in self._plans for request in plan)
        offset_ns = now_ns - round(self._clock.monotonic_s() * 1e9)
        names = self._options.table.names
        return {"now_ns": now_ns} | told(names, plan, self._refused, self._unanswered, self._learned(), offset_ns)

    def forget(self) -> dict[str, object]:
        """Forget what was learned, so that the next poll asks for everything again; return what it was."""
        forgotten = {
            "refused": len(self._refused),
            "silent": len(list(self._unanswered.known())),
            "learned": self._learned(),
        }
        self._refused.forget()
        self._told_refused.clear()
        self._unanswered.keep_to(())
        self._context.state.clear()
        self._plans, self._planned_for = [], None
        self._metrics.refused_points.set(0)
        _log.info("what was learned is forgotten", extra={"device": self._options.id})
        return forgotten

    async def run(self) -> None:
        """Collect until cancelled; on cancellation the session is closed within ``close_timeout_s``.

        Raises:
            OutboxError: readings cannot be kept any more. Nothing else.
        """
        self._refused.restore(self._options.config.unpack, self._clock.monotonic_s(), self._clock.now_ns())
        while True:
            try:
                device = self._options.spec.create(self._context, self._options.config.unpack())
                self._plans, self._planned_for = [], None
                self._plan(device, by_interval(device.polled, self._options.intervals_s))
                while True:
                    with only_cancelled_when_asked():
                        pause_s = await self._serve(device)
                    await self._clock.sleep(pause_s)
                    while (pause_s := self._wait_s()) > 0:
                        await self._clock.sleep(pause_s)
            except OutboxError:
                raise
            except PointRejectedError as exc:
                await self._give_up(str(exc))
                return
            except Exception:  # noqa: BLE001 - the supervisor: a broken driver must not take the others along
                if not await self._crashed():
                    return
                await self._clock.sleep(self._options.retry_max_s)

    async def _serve(self, device: Device) -> float:
        """Connect and collect until the session is lost; return the pause before the next attempt."""
        begin_s, reason, self._is_kept_off = self._clock.monotonic_s(), "", False
        try:
            session = await self._connect(device)
            connected_s = self._clock.monotonic_s()
            try:
                await self._collect(device, session)
            finally:
                await self._close(session)
                if not self._is_lost and self._clock.monotonic_s() - connected_s >= STABLE_AFTER_S:
                    self._backoff.reset()
        except DriverError as exc:
            reason = str(exc) or type(exc).__name__
            await self._lost(reason)
        return self._pause_s(reason, begin_s if self._silent_since_s is None else self._silent_since_s)

    def _pause_s(self, reason: str, since_s: float) -> float:
        """Return the pause before the next attempt, which is one for all devices on the same unit."""
        station, wait_s = self._context.station, self._wait_s()
        if wait_s > 0 or self._is_kept_off:  # somebody else found that it is silent
            return max(0.0, wait_s)
        self._backoff.attempts = max(self._backoff.attempts, station.attempts)
        pause_s = self._backoff.next_s()
        until_s = self._clock.monotonic_s() + pause_s
        station.failed(self.device, reason, since_s, until_s, self._backoff.attempts)
        return pause_s

    def _wait_s(self) -> float:
        return self._context.station.wait_s(self.device, self._clock.monotonic_s())

    async def _connect(self, device: Device) -> Session:
        try:
            async with Deadline(self._options.connect_timeout_s):
                session = await device.connect()
        except TimeoutError as exc:
            raise DeviceUnavailableError(
                f"no connection within {self._options.connect_timeout_s:g} s; check address, cable and power"
            ) from exc
        self._metrics.connects.inc()
        self._metrics.up.set(1)
        self._telling.connected(session)
        return session

    async def _collect(self, device: Device, session: Session) -> None:
        """Poll and listen until the session is lost.

        Raises:
            DriverError: why it was lost.
        """
        finding = session if isinstance(session, Finding) else None
        if not device.reported and not device.polled:  # nothing of it is known yet
            self._found()
            if finding is not None:
                await self._find(finding)
            await self._clock.sleep(self._options.retry_max_s)  # then the next session asks again
            return
        if not device.reported and finding is None:
            await self._poll(device, session)
            return
        async with together(DriverError) as group:
            if finding is not None:
                group.create_task(self._find(finding), name=f"find:{self._options.id}")
            if not device.reported:
                await self._poll(device, session)
            if device.polled:
                group.create_task(self._poll(device, session), name=f"poll:{self._options.id}")
            await session.run(self._take_reported)
            raise DeviceUnavailableError("the driver stopped reporting")

    async def _find(self, session: Finding) -> None:
        """Hear which points the device says it has; whoever keeps that builds it anew, if they are others."""
        try:
            with only_cancelled_when_asked():
                async with asyncio.timeout(FIND_TIMEOUT_S):
                    found = await session.find_points()
        except TimeoutError:
            _log.warning("the device does not tell its points in time", extra={"device": self._options.id})
            return
        self._telling.remarked(session)
        if found != self._options.found:
            await self._context.keep_found(found)

    async def _poll(self, device: Device, session: Session) -> None:
        groups = by_interval(device.polled, self._options.intervals_s)
        schedule = Schedule(
            [interval_s for interval_s, _ in groups], self._clock.monotonic_s(), phase_of(self._options.id)
        )
        self._failures = 0
        try:
            while True:
                due_s, group = schedule.next()
                await self._clock.sleep(due_s - self._clock.monotonic_s())
                self._metrics.lateness_seconds.observe(max(0.0, self._clock.monotonic_s() - due_s))
                self._plan(device, groups)
                await self._cycle(session, self._plans[group], groups[group][0])
                self._keep_refused()
                skipped = schedule.done(group, self._clock.monotonic_s())
                if skipped:
                    self._metrics.overruns.inc(skipped)
        finally:
            self._keep_refused()

    def _plan(self, device: Device, groups: Sequence[tuple[float, Sequence[int]]]) -> None:
        """Plan again if something was learned; exchanges for which nothing changes stay the same objects."""
        refused = frozenset(self._refused)
        learned = self._learned()
        if self._planned_for == (refused, learned):
            return
        self._planned_for = refused, learned
        plans = [device.plan(points, refused) for _, points in groups]
        if [[tuple(one.points) for one in plan] for plan in plans] != [
            [tuple(one.points) for one in plan] for plan in self._plans
        ]:
            self._plans = plans
            self._unanswered.keep_to([request for plan in plans for request in plan])

    def _learned(self) -> dict[str, str]:
        return {key: text for key, text in self._context.state.items() if key != REFUSALS_KEY}

    async def _cycle(self, session: Session, plan: Sequence[Request], interval_s: float) -> None:
        """Ask what is due, and one thing at least if nothing else was asked: a loss must not go unnoticed.

        Raises:
            DeviceUnavailableError: the device is lost.
        """
        begin_s = self._clock.monotonic_s()
        at_once = session.max_in_flight if isinstance(session, Concurrent) else 1
        due = filter(self._is_due, plan)
        # A device that was lost gets one chance only: on a shared line its silence costs the others.
        while requests := tuple(islice(due, 1 if self._is_lost else at_once)):
            await self._ask(session, requests)
        if not self._is_lost and self._asked_s < begin_s - interval_s / 2:
            for request in plan:
                if not self._unanswered.is_known(request):
                    await self._ask(session, (request,))
                    break

    async def _ask(self, session: Session, requests: Sequence[Request]) -> None:
        """Carry out exchanges, all at once, and draw the conclusions. If none is answered, that counts once.

        Raises:
            DeviceUnavailableError: it failed once too often.
        """
        station, begin_s = self._context.station, self._clock.monotonic_s()
        if why_not := station.begin(self.device, begin_s):
            self._is_kept_off = True
            raise DeviceUnavailableError(why_not)
        if self._silent_since_s is None:
            self._silent_since_s = begin_s
        try:
            batches = await self._exchange_all(session, requests)
        finally:
            station.end(self.device)
        now_s = self._clock.monotonic_s()
        if any(batch is not None for batch in batches):
            self._failures = 0
        elif not all(map(self._unanswered.is_known, requests)):
            self._failures += 1
            station.missed += not self._is_lost
        missed = max(self._failures, station.missed)
        for request, batch in zip(requests, batches, strict=True):
            if batch is not None:
                self._tell_answered(request)
                self._note_refused(batch, now_s)
                continue
            is_new = self._unanswered.failed(request, now_s)
            if self._is_lost or missed >= self._options.max_failures:
                raise DeviceUnavailableError(f"{self._last_failure} ({max(self._failures, 1)} in a row)")
            if is_new:
                await self._tell_unanswered(request)

    def _is_due(self, request: Request) -> bool:
        """Return whether ``request`` is asked now: what gives nothing or is refused is left alone for a while."""
        if self._is_lost:  # any exchange finds it: one that is never answered must not hide it
            return request in self._unanswered.untried([one for plan in self._plans for one in plan])
        now_s = self._clock.monotonic_s()
        return self._unanswered.is_due(request, now_s) and any(
            self._refused.is_due(point, now_s) for point in request.points
        )

    def _note_refused(self, batch: ReadingBatch, now_s: float) -> None:
        if batch.refused:
            statuses = batch.statuses()
            for point in batch.refused:
                self._refused.failed(point, statuses.get(point, Quality.BAD), now_s)
        if len(self._refused):
            self._refused.passed(point for point, status in batch.statuses().items() if not is_bad(status))
        self._metrics.refused_points.set(len(self._refused) + self._telling.rejected)

    def _keep_refused(self) -> None:
        """Write down what changed, and log each point once: a session finds out anew what the last one knew."""
        if self._refused.is_changed:
            self._tell_refused(frozenset(self._refused))
            config = self._options.config.unpack()
            self._refused.save(config, self._clock.monotonic_s(), self._clock.now_ns())

    async def _exchange_all(self, session: Session, requests: Sequence[Request]) -> list[ReadingBatch | None]:
        """Carry out exchanges, several at once; return what each gave."""
        if len(requests) == 1:
            return [await self._exchange(session, requests[0])]
        async with together(DriverError) as group:
            tasks = [group.create_task(self._exchange(session, request)) for request in requests]
            return [await task for task in tasks]

    async def _exchange(self, session: Session, request: Request) -> ReadingBatch | None:
        """Carry out one exchange; return None if it gave nothing."""
        begin_s = self._asked_s = self._clock.monotonic_s()
        try:
            with only_cancelled_when_asked():
                async with Deadline(self._options.read_timeout_s):
                    batch = await session.read(request)
        except TimeoutError:
            self._last_failure = f"no answer within {self._options.read_timeout_s:g} s to: {request}"
            self._last_quality = Quality.BAD_TIMEOUT
        except ExchangeError as exc:
            self._last_failure = str(exc)
            self._last_quality = Quality.BAD_COMMUNICATION_ERROR
        else:
            self._metrics.exchanges.inc()
            self._metrics.exchange_seconds.observe(self._clock.monotonic_s() - begin_s)
            await self._take(batch)
            return batch
        self._metrics.exchange_failures.inc()
        return None

    def _tell_refused(self, points: AbstractSet[int]) -> None:
        new = points - self._told_refused
        if new:
            self._told_refused |= new
            names = [self._options.table.names[index] for index in sorted(new)]
            _log.warning("points refused by the device", extra={"device": self._options.id, "points": names})

    async def _tell_unanswered(self, request: Request) -> None:
        """Say that the points of one exchange have no value any more, although the device is there."""
        self._partial.failed("points get no answer", reason=self._last_failure, points=len(request.points))
        await self._pass_on(
            ReadingBatch.bad(self._options.id, self._clock.now_ns(), request.points, self._last_quality)
        )

    def _tell_answered(self, request: Request) -> None:
        self._unanswered.answered(request)
        if self._partial.failures and not self._unanswered.has_known:
            self._partial.recovered("all points are answered again")

    async def _take_reported(self, batch: ReadingBatch) -> None:
        await self._take(batch)
        self._telling.reported(batch)
        self._metrics.refused_points.set(len(self._refused) + self._telling.rejected)
        self._tell_refused(batch.refused)

    async def _take(self, batch: ReadingBatch) -> None:
        self._silent_since_s = None
        self._context.station.answered(self._clock.monotonic_s())
        for lost in batch.lost:
            self._telling.lost(lost)
        if not len(batch):
            return
        if batch.historical:  # of the past: neither the present nor a change of it
            self._metrics.count(batch, batch)
            self._metrics.backfilled.inc(len(batch))
            await self._sink(self._options.table, batch)
            return
        if self._is_lost or self._current.phase is not DevicePhase.ONLINE:
            self._found()
            await self._pass_on_refused(batch.statuses().keys())
        await self._pass_on(batch)

    async def _pass_on(self, batch: ReadingBatch) -> None:
        self._current.update(batch)
        kept = self._deadband.apply(batch, self._clock.monotonic_s())
        self._metrics.count(batch, kept)
        if len(kept):
            await self._sink(self._options.table, kept)

    async def _pass_on_refused(self, asked: AbstractSet[int]) -> None:
        """Say of refused points that are not asked for now that they are Bad for that reason and no other."""
        points = array("H", sorted(set(self._refused) - asked))
        if points:
            statuses = array("I", map(self._refused.status, points))
            column = Column(DataType.NULL, points, None, statuses)
            await self._pass_on(ReadingBatch(self._options.id, self._clock.now_ns(), (column,)))

    def _found(self) -> None:
        """Readings flow: the device is there."""
        self._current.enter(DevicePhase.ONLINE)
        self._is_lost = False
        if self._edge.failures:
            self._edge.recovered("device is back")
        else:
            _log.info("device online", extra={"device": self._options.id})

    async def _lost(self, reason: str) -> None:
        """Say that the device is gone: once in the data and once in the log, always on the status page."""
        self._metrics.up.set(0)
        self._current.enter(DevicePhase.OFFLINE, reason)
        self._current.remarks = ()
        self._edge.failed("device lost", reason=reason)
        if self._is_lost:
            return
        self._is_lost = True
        self._metrics.losses.inc()
        await self._pass_on(
            ReadingBatch.bad(
                self._options.id, self._clock.now_ns(), self._all_points, Quality.BAD_NO_COMMUNICATION
            )
        )

    async def _close(self, session: Session) -> None:
        try:
            async with asyncio.timeout(self._options.close_timeout_s):
                await session.close()
        except (TimeoutError, DriverError) as exc:
            _log.debug("session not closed gracefully", extra={"device": self._options.id, "reason": repr(exc)})

    async def _crashed(self) -> bool:
        """Count an unexpected exception; return whether the driver may be tried again."""
        self._metrics.crashes.inc()
        _log.exception("driver raised what it must not", extra={"device": self._options.id})
        await self._lost("the driver is broken; see the log")
        now_s = self._clock.monotonic_s()
        self._crashes.append(now_s)
        if len(self._crashes) == CRASHES_ALLOWED and now_s - self._crashes[0] < CRASH_WINDOW_S:
            await self._give_up(f"the driver crashed {CRASHES_ALLOWED} times within an hour")
            return False
        return True

    async def _give_up(self, reason: str) -> None:
        await self._lost(reason)
        self._current.enter(DevicePhase.FAILED, reason)
        _log.error("device given up until restart", extra={"device": self._options.id, "reason": reason})
