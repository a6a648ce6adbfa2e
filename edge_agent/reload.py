"""Reload: the running agent takes up another configuration, whole or not at all.

The file is read, checked and built on a thread; then only what differs is touched. Secrets, certificates and keys
that change on the disk are taken up in the same way, by building the text that runs once more: whatever is in the
YAML file meanwhile, nobody asked for it yet. So is what devices say of their points.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from edge_agent.app import Agent
from edge_agent.clock import Clock, SystemClock
from edge_agent.collect.context import planning_context
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.schedule import by_interval
from edge_agent.config import AgentOptions, Problem, Source, last_good, load_source, read
from edge_agent.config.changes import Changes, Difference, compare
from edge_agent.config.referenced import stamps
from edge_agent.edge_log import EdgeLog
from edge_agent.errors import ConfigError, DriverError, DriverLoadError, EdgeAgentError, PublishError
from edge_agent.ops.server_certificate import server_context
from edge_agent.publish.transport import load_context
from edge_agent.registry import Registry

_log = logging.getLogger(__name__)

_TAKEN_UP = {
    (False, False): "configuration reloaded",
    (True, False): "files that the configuration refers to have changed",
    (True, True): "what devices say of their points is taken up",
}
LOOK_EVERY_S = 10.0
"""Between two looks at the files that the configuration refers to."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One reload that was asked for.

    Attributes:
        is_trial: say what would change, and change nothing.
        is_renewal: of the text that runs, because files that it refers to are others, or what was found.
        is_finding: for the latter.
        done: gets the answer; may be cancelled by whoever waits.
    """

    is_trial: bool = False
    is_renewal: bool = False
    is_finding: bool = False
    done: "asyncio.Future[dict[str, Any]] | None" = None


class Reloader:
    """Reloads one agent, one request at a time, in the order in which they came.

    Args:
        path: the YAML file.
    """

    def __init__(self, agent: Agent, path: Path, *, clock: Clock | None = None) -> None:
        self._agent = agent
        self._path = path
        self._clock = clock or SystemClock()
        self._requests: asyncio.Queue[_Request] = asyncio.Queue()
        self._is_asked = self._is_finding_asked = False
        self._stamps: dict[Path, tuple[int, ...]] = {}
        self._keeping = EdgeLog(_log, self._clock.monotonic_s)
        agent.actions.add("reload", self._act, changes=True)
        agent.found = self._take_up_found

    def ask(self) -> None:
        """Reload soon; for a signal. What came of it is in the log and in the metrics."""
        if not self._is_asked:  # one that waits has not read the file yet
            self._is_asked = True
            self._requests.put_nowait(_Request())

    def _take_up_found(self) -> None:
        if not self._is_finding_asked:
            self._is_finding_asked = True
            self._requests.put_nowait(_Request(is_renewal=True, is_finding=True))

    async def run(self) -> NoReturn:
        """Task ``reload``: carry out what is asked for, from when the agent is ready, until cancelled."""
        await self._agent.ready.wait()
        async with asyncio.TaskGroup() as group:
            self._stamps = await asyncio.to_thread(stamps, self._agent.options.watched)
            await self._keep()
            group.create_task(self._watch(), name="reload:watch")
            while True:
                request = await self._requests.get()
                if request.is_finding:
                    self._is_finding_asked = False
                elif request.done is None:
                    self._is_asked = False
                answer = await self._carry_out(request)
                if request.done is not None and not request.done.done():
                    request.done.set_result(answer)

    async def _act(self, arguments: dict[str, Any]) -> object:
        """Reload as the control socket asks; whoever goes away while it waits stops nothing."""
        done = asyncio.get_running_loop().create_future()
        self._requests.put_nowait(_Request(is_trial=arguments.get("dry_run") is True, done=done))
        return await done

    async def _watch(self) -> NoReturn:
        """Look at the files that the configuration refers to, and take up what is in them when they change."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            if await asyncio.to_thread(stamps, self._agent.options.watched) != self._stamps:
                done = asyncio.get_running_loop().create_future()
                self._requests.put_nowait(_Request(is_renewal=True, done=done))
                await done

    async def _carry_out(self, request: _Request) -> dict[str, Any]:
        notifier = None if request.is_trial else self._agent.notifier
        if notifier is not None:
            notifier.reloading()
        try:
            answer = await self._reload(request)
        except EdgeAgentError as exc:
            answer = self._refuse(exc, request)
        finally:
            if notifier is not None:
                notifier.ready()
        return answer

    async def _reload(self, request: _Request) -> dict[str, Any]:
        """Take up the file.

        Raises:
            EdgeAgentError: why not; nothing has changed.
        """
        running = self._agent.options
        looked_at = await asyncio.to_thread(stamps, running.watched)
        if request.is_renewal:
            self._stamps = looked_at  # what is no good is looked at again when it changes again
        source = Source.of(running.source, running.raw) if request.is_renewal else None
        options, changes = await asyncio.to_thread(_prepare, source, self._path, running)
        if changes.refused:
            keys = ", ".join(changes.refused)
            raise EdgeAgentError(
                f"{keys}: cannot change while the agent runs; nothing was changed, restart the agent"
            )
        answer = {
            "ok": True,
            "result": "applied" if changes else "unchanged",
            "file": str(options.source),
            "hash": options.digest,
            "dry_run": request.is_trial,
            **changes.as_json(),
        }
        if request.is_trial:
            return answer
        is_same_text = options.raw == running.raw
        await self._agent.apply(options, changes)
        if not request.is_renewal:
            self._agent.why_last_good = ""
            self._agent.metrics.is_last_good.set(0)
        watched = await asyncio.to_thread(stamps, options.watched)
        self._stamps = {path: looked_at.get(path, stamp) for path, stamp in watched.items()}
        if not is_same_text:
            about = {"config": str(options.source), "from": running.digest, "to": options.digest}
            await self._agent.auditor.tell("config.changed", about)
            await self._keep()
        elif changes:
            touched = {kind: [*part.changed, *part.adjusted] for kind, part in _parts(changes)}
            told = {kind: parts for kind, parts in touched.items() if parts}
            if changes.settings:
                told["settings"] = list(changes.settings)
            await self._agent.auditor.tell("points.found" if request.is_finding else "credentials.renewed", told)
        metrics = self._agent.metrics
        metrics.reloads.labels(answer["result"]).inc()
        metrics.reload_succeeded.set(1)
        _log.info(
            _TAKEN_UP[request.is_renewal, request.is_finding],
            extra={"result": answer["result"], "config": str(options.source), **_counted(changes)},
        )
        return answer

    def _refuse(self, error: EdgeAgentError, request: _Request) -> dict[str, Any]:
        problems = [_told(one) for one in (error.problems if isinstance(error, ConfigError) else [error])]
        is_config = isinstance(error, ConfigError | DriverLoadError)
        if not request.is_trial:
            self._agent.metrics.reloads.labels("refused").inc()
            self._agent.metrics.reload_succeeded.set(0)
            _log.error(
                "configuration not taken up; the one before it goes on",
                extra={"reason": str(error.problems[0] if isinstance(error, ConfigError) else error)},
            )
        return {"ok": False, "result": "refused", "is_bad_config": is_config, "problems": problems}

    async def _keep(self) -> None:
        """Keep what runs as the last good configuration; the agent goes on where that does not work."""
        options = self._agent.options
        if self._agent.why_last_good:
            return
        try:
            await asyncio.to_thread(
                last_good.keep, options.outbox.directory, options.source, options.raw, self._clock.now_ns()
            )
        except OSError as exc:
            self._keeping.failed("the last good configuration cannot be kept", error=str(exc))
        else:
            self._keeping.recovered("the last good configuration is kept again")


def _prepare(source: Source | None, path: Path, running: AgentOptions) -> tuple[AgentOptions, Changes]:
    """Read, check and build everything, and return it with what it changes. Blocks.

    Raises:
        EdgeAgentError: it cannot be used; all problems at once.
    """
    try:
        return _prepared(source, path, running)
    except EdgeAgentError:
        raise
    except Exception as exc:  # a driver that the file names for the first time may raise anything
        _log.exception("a bug came up while the configuration was checked")
        raise EdgeAgentError(
            f"{type(exc).__name__} while the configuration was checked: {exc}; see the log"
        ) from exc


def _prepared(source: Source | None, path: Path, running: AgentOptions) -> tuple[AgentOptions, Changes]:
    # Of a text that runs, a device without its files fails by itself; of what is built anew they are opened below.
    options = load_source(source or read(path), Registry(), needs_device_files=source is None)
    changes = compare(running, options, _reported)
    problems: list[object] = []
    started = {*changes.devices.started}
    for device in options.devices:
        if device.id in started:
            try:
                _plan(device)
            except DriverError as exc:
                problems.append(Problem(str(path), 1, 1, f"devices.{device.id}", str(exc)))
    begun = {*changes.publishers.started}
    for publisher in options.publishers:
        if publisher.id in begun and any(server.use_tls for server in publisher.servers):
            try:
                load_context(publisher.tls)
            except PublishError as exc:
                problems.append(Problem(str(path), 1, 1, f"publishers.{publisher.id}.tls", str(exc)))
    if changes.has_tls_of_pages:
        try:
            server_context(options.ops)
        except EdgeAgentError as exc:
            problems.append(Problem(str(path), 1, 1, "ops.tls", str(exc)))
    if problems:
        raise ConfigError(problems)
    return options, changes


def _reported(options: DeviceOptions) -> Collection[int]:
    return options.spec.create(planning_context(options.id), options.config.unpack()).reported


def _plan(options: DeviceOptions) -> None:
    """See whether the driver takes the device, and the files that it names.

    Raises:
        DriverError: it does not.
    """
    config = options.config.unpack()
    device = options.spec.create(planning_context(options.id), config)
    if options.spec.files is not None:
        options.spec.files(config)
    for _, points in by_interval(device.polled, options.intervals_s):
        device.plan(points, frozenset())


def _told(problem: object) -> dict[str, Any]:
    if isinstance(problem, Problem):
        return {key: getattr(problem, key) for key in ("file", "line", "column", "path", "message")}
    return {"message": str(problem)}


def _parts(changes: Changes) -> tuple[tuple[str, Difference[Any]], ...]:
    return (("devices", changes.devices), ("publishers", changes.publishers))


def _counted(changes: Changes) -> dict[str, object]:
    """Return fields of the log: what came, went and changed, as numbers where there may be hundreds."""
    fields: dict[str, object] = {"settings": list(changes.settings)}
    for kind, part in _parts(changes):
        numbers = {word: len(getattr(part, word)) for word in ("added", "removed", "changed", "adjusted")}
        fields |= {f"{kind}_{word}": number for word, number in numbers.items() if number}
    return fields
