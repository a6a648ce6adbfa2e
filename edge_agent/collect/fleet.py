"""The devices of one agent: each is started, stopped and replaced by itself while the others go on."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.collect.context import DeviceContext, driver_directory
from edge_agent.collect.expiry import Expiries
from edge_agent.collect.findings import Findings
from edge_agent.collect.line import Lines
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.current import Current
from edge_agent.edge_log import EdgeLog
from edge_agent.errors import EdgeAgentError
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId
from edge_agent.outbox.losses import at_device
from edge_agent.outbox.store import Outbox

_log = logging.getLogger(__name__)

FINDINGS_ALLOWED = 5
FINDINGS_WINDOW_S = 3600.0


@dataclass(frozen=True, slots=True)
class Member:
    """One device that is collected."""

    options: DeviceOptions
    context: DeviceContext
    supervisor: DeviceSupervisor
    task: asyncio.Task[None]


class Fleet(Mapping[DeviceId, Member]):
    """The devices that are collected, by id, in the order in which they were started.

    Args:
        outbox: gets what they give.
        current: shows them as long as they are here.
        expiries: told of their certificates.
        state: the state directory.
        random: source of jitter, floats in [0, 1).

    Attributes:
        lines: what they share.
        news: called when what is kept of a device is not what it was built with.
    """

    def __init__(
        self,
        outbox: Outbox,
        current: Current,
        expiries: Expiries,
        state: Path,
        *,
        clock: Clock,
        metrics: Metrics,
        random: Callable[[], float],
    ) -> None:
        self.lines = Lines()
        self.news: Callable[[], None] = lambda: None
        self._outbox = outbox
        self._current = current
        self._expiries = expiries
        self._state = state
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._findings = Findings(state)
        self._found_s: dict[DeviceId, deque[float]] = {}
        self._keeping = EdgeLog(_log, clock.monotonic_s)
        self._members: dict[DeviceId, Member] = {}
        self._group: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the tasks of the devices; on leaving they are stopped, and their sessions closed.

        Raises:
            ExceptionGroup: of OutboxError: readings cannot be kept any more.
        """
        async with asyncio.TaskGroup() as self._group:
            yield

    def start(self, devices: Iterable[DeviceOptions]) -> None:
        """Collect from ``devices`` from now on. None of them may be here; call it within ``running``."""
        for device in devices:
            self._members[device.id] = self._begin(device)

    def adjust(self, devices: Iterable[DeviceOptions]) -> None:
        """Go on with ``devices`` in the sessions that they have; one that was given up begins anew."""
        for options in devices:
            member = self._members[options.id]
            if member.task.done():
                self._let_go(member)
                self._members[options.id] = self._begin(options)
            else:
                member.supervisor.adjust(options)
                self._members[options.id] = replace(member, options=options)

    async def stop(self, devices: Collection[DeviceId] | None = None) -> None:
        """Stop ``devices``, None = all, and return when their sessions are closed; what they gave is kept.

        A cancelled call has asked all of them to stop; those that still close stay in the fleet.
        """
        members = [self._members[device] for device in (list(self._members) if devices is None else devices)]
        for member in members:
            member.task.cancel()
        if members:
            await asyncio.wait([member.task for member in members])
        for member in members:
            self._let_go(member)

    def forget(self, device: DeviceId) -> None:
        """A stopped device is configured no longer: the page and the metrics show it no more."""
        self._current.remove(device)
        self._metrics.forget("device", device)

    async def forget_found(self, device: DeviceId) -> None:
        """Forget what was found of a device, which is then built anew without.

        Raises:
            EdgeAgentError: the disk takes no writes.
        """
        try:
            if await asyncio.to_thread(self._findings.forget, device):
                self._found_s.pop(device, None)
                self.news()
        except OSError as exc:
            raise EdgeAgentError(f"what was found of {device} cannot be forgotten: {exc.strerror}") from exc

    async def _keep_found(self, device: DeviceId, found: str) -> None:
        """Keep what a session found. A device that says something else each time is not built anew for ever."""
        now_s = self._clock.monotonic_s()
        times_s = self._found_s.setdefault(device, deque(maxlen=FINDINGS_ALLOWED))
        if len(times_s) == FINDINGS_ALLOWED and now_s - times_s[0] < FINDINGS_WINDOW_S:
            told = "the device tells of other points each time; these are taken up with a later connection"
            _log.warning(told, extra={"device": device})
            return
        try:
            is_news = await asyncio.to_thread(self._findings.keep, device, found)
        except OSError as exc:
            self._keeping.failed("what devices say of their points cannot be kept", error=str(exc))
            return
        self._keeping.recovered("what devices say of their points is kept again")
        if is_news:
            times_s.append(now_s)
            _log.info("the device tells of other points than before", extra={"device": device})
            self.news()

    def __getitem__(self, device: DeviceId) -> Member:
        return self._members[device]

    def __iter__(self) -> Iterator[DeviceId]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def _begin(self, options: DeviceOptions) -> Member:
        if self._group is None or options.id in self._members:
            raise RuntimeError(f"{options.id} cannot be started now")
        outbox = self._outbox
        context = DeviceContext(
            options.id,
            self._clock,
            self.lines,
            outbox.learned(options.id),
            directory=driver_directory(self._state, options.spec.protocol),
            expiries=self._expiries.tell,
            findings=self._keep_found,
        )
        supervisor = DeviceSupervisor(
            options,
            context,
            outbox.append,
            lambda table, lost: outbox.note_losses(at_device(table, lost, outbox.epoch)),
            self._current.add(options.table),
            clock=self._clock,
            metrics=self._metrics,
            random=self._random,
        )
        task = self._group.create_task(supervisor.run(), name=f"device:{options.id}")
        return Member(options, context, supervisor, task)

    def _let_go(self, member: Member) -> None:
        """A stopped device gives up its lines, so that the next one of its name can set them up in another way."""
        device = member.options.id
        if self._members.pop(device, None) is None:
            return
        self._metrics.device_up.labels(device).set(0)
        self._expiries.forget(device)
        others = {key for other in self._members.values() for key in other.context.line_keys}
        self.lines.release(device, [key for key in member.context.line_keys if key not in others])
