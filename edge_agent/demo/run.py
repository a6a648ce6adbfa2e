"""One run of the demo: start the plant, a broker, a subscriber and the agent; show; stop in order; compare."""

import asyncio
import json
import logging
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from edge_agent import config
from edge_agent.app import Agent
from edge_agent.clock import SystemClock
from edge_agent.demo.child import Child, child
from edge_agent.demo.observe import codes_of, figures_of, lines_of, total
from edge_agent.demo.site import GATEWAY, Broker, BrokerUrlError, Site, unique_gateway
from edge_agent.demo.snapshot import Figures, Snapshot
from edge_agent.demo.table import summary
from edge_agent.demo.view import View, open_view
from edge_agent.errors import EdgeAgentError
from edge_agent.registry import Registry

_log = logging.getLogger(__name__)

DRAIN_TIMEOUT_S = 30.0
RECEIVE_TIMEOUT_S = 5.0
_RATE_WINDOW = 10
_USAGE = 2


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo ends with."""

    figures: Figures
    devices: int
    codes: int

    @property
    def lost(self) -> int:
        """Readings on disk that the subscriber did not get; negative if it got some that are not on disk."""
        return self.figures.committed - self.figures.received

    @property
    def exit_code(self) -> int:
        """0 if every reading arrived, and there were any."""
        return 0 if self.lost == 0 and self.figures.received else 1

    def to_json(self) -> str:
        """Return one line."""
        return json.dumps(asdict(self.figures) | {"lost": self.lost, "devices": self.devices, "codes": self.codes})


def run(seconds: float | None, *, as_json: bool, broker: str | None) -> int:
    """Run the demo; see ``edge_agent.demo.run_demo``."""
    try:
        address = Broker.parse(broker) if broker else None
    except BrokerUrlError as exc:
        sys.stderr.write(f"edge-agent demo: {exc}\n")
        return _USAGE
    notes: deque[str] = deque(maxlen=3)
    result: Result | None = None
    try:
        with (
            tempfile.TemporaryDirectory(prefix="edge-agent-demo-") as directory,
            open_view(notes, as_json=as_json) as view,
        ):
            result = asyncio.run(_Demo(Path(directory), address, view, notes).run(seconds))
    except* EdgeAgentError as group:
        for error in _leaves(group):
            sys.stderr.write(f"edge-agent demo: {error}\n")
    except* KeyboardInterrupt:
        sys.stderr.write("edge-agent demo: interrupted before everything could arrive\n")
    if result is None:
        return 1
    if as_json:
        sys.stdout.write(result.to_json() + "\n")
    else:
        Console().print(summary(result.figures, result.lost, result.devices, result.codes))
    return result.exit_code


class _Demo:
    def __init__(self, directory: Path, broker: Broker | None, view: View, notes: deque[str]) -> None:
        self._directory = directory
        self._broker = broker
        self._view = view
        self._notes = notes
        self._clock = SystemClock()
        self._committed: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)

    async def run(self, seconds: float | None) -> Result:
        stop = _stop_on_signals()
        async with AsyncExitStack() as stack:
            _, plant = await stack.enter_async_context(child("plant", directory=self._directory))
            broker, gateway = self._broker, unique_gateway()
            if broker is None:
                _, embedded = await stack.enter_async_context(child("broker", directory=self._directory))
                broker, gateway = Broker("127.0.0.1", embedded["port"]), GATEWAY
            subscriber, _ = await stack.enter_async_context(
                child("subscriber", broker.host, str(broker.port), gateway, directory=self._directory)
            )
            site = Site(self._directory, gateway, plant["modbus"], plant["opcua"], broker)
            path = await asyncio.to_thread(site.write)
            agent = Agent(await asyncio.to_thread(config.load, path, Registry()))
            async with asyncio.TaskGroup() as group:
                running = group.create_task(agent.run(), name="agent")
                await agent.ready.wait()
                await self._watch(agent, subscriber, stop, seconds)
                await agent.stop_collecting()
                await agent.outbox.flush()
                await self._drain(agent, subscriber)
                running.cancel()
            report = await subscriber.ask()
            return Result(figures_of(agent, report), len(report["devices"]), len(report["codes"]))

    async def _watch(self, agent: Agent, subscriber: Child, stop: asyncio.Event, seconds: float | None) -> None:
        """Show the demo until somebody stops it or the time is over."""
        codes, start_s = codes_of(agent), self._clock.monotonic_s()
        end_s = start_s + (seconds if seconds is not None else float("inf"))
        while not stop.is_set() and (now_s := self._clock.monotonic_s()) < end_s:
            report = await subscriber.ask()
            self._view.show(self._snapshot(agent, codes, report, now_s - start_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(min(self._view.every_s, end_s - now_s)):
                    await stop.wait()
        now_s = self._clock.monotonic_s()
        self._view.show(
            replace(self._snapshot(agent, codes, await subscriber.ask(), now_s - start_s), is_stopping=True)
        )

    async def _drain(self, agent: Agent, subscriber: Child) -> None:
        """Wait until everything that is on disk is acknowledged, and the subscriber has it, within bounds."""
        committed = total(agent.metrics.committed)
        await self._until(lambda: total(agent.metrics.acknowledged) >= committed, DRAIN_TIMEOUT_S)
        end_s = self._clock.monotonic_s() + RECEIVE_TIMEOUT_S
        while (await subscriber.ask())["received"] < committed and self._clock.monotonic_s() < end_s:
            await self._clock.sleep(0.05)

    async def _until(self, condition: Callable[[], bool], within_s: float) -> None:
        end_s = self._clock.monotonic_s() + within_s
        while not condition():
            if self._clock.monotonic_s() > end_s:
                _log.error("the broker did not acknowledge everything in time", extra={"within_s": within_s})
                return
            await self._clock.sleep(0.05)

    def _snapshot(self, agent: Agent, codes: dict[str, str], report: dict[str, Any], elapsed_s: float) -> Snapshot:
        figures = figures_of(agent, report)
        self._committed.append((elapsed_s, figures.committed))
        since_s, before = self._committed[0]
        return Snapshot(
            elapsed_s=elapsed_s,
            lines=lines_of(agent, codes, self._clock),
            figures=figures,
            rate=(figures.committed - before) / (elapsed_s - since_s) if elapsed_s > since_s else 0.0,
            pending_rows=round(total(agent.metrics.pending)),
            outbox_bytes=round(total(agent.metrics.outbox_bytes)),
            is_broker_up=total(agent.metrics.publisher_up) > 0,
            addresses={
                "broker": ", ".join(
                    f"{server.host}:{server.port}" for server in agent.options.publishers[0].servers
                ),
                "pages": f"http://{agent.options.ops.http_host}:{agent.options.ops.http_port}",
            },
            notes=tuple(self._notes),
        )


def _stop_on_signals() -> asyncio.Event:
    """Return what the first Ctrl-C or SIGTERM sets; the second Ctrl-C ends the demo where it stands."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return stop


def _leaves(group: BaseExceptionGroup[EdgeAgentError]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc
