"""``edge-agent run``."""

import asyncio
import ctypes
import gc
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import typer
from prometheus_client import ProcessCollector

from edge_agent.app import Agent
from edge_agent.cli.exits import ExitCode, exit_code, lines
from edge_agent.config import AgentOptions, last_good, load, load_source, state_directory
from edge_agent.errors import ConfigError, DriverLoadError, EdgeAgentError
from edge_agent.ops import logs
from edge_agent.registry import Registry
from edge_agent.reload import Reloader

_log = logging.getLogger(__name__)

GARBAGE_THRESHOLD = 10_000
"""Objects made and not yet released before the collector looks at them; Python's own is 700."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_agent(config: Path, *, may_use_last_good: bool = False) -> ExitCode:
    """Run until a signal asks to stop, and return what the process ends with.

    Args:
        config: the YAML file.
        may_use_last_good: if it is broken, run what ran last.

    Raises:
        ConfigError: before anything was started.
        EdgeAgentError: likewise; there is no last good configuration.
    """
    problem = ""
    try:
        options = load(config, Registry(), needs_device_files=False)
    except (ConfigError, DriverLoadError) as exc:
        if not may_use_last_good:
            raise
        options, problem = _last_good(config), _first_problem(exc)
        for line in lines(exc):
            typer.echo(line, err=True)
    logs.configure(options.ops.log_format, options.ops.log_level)
    if problem:
        _log.error(
            "the configuration is broken: the last good one runs instead; mend the file and run edge-agent reload",
            extra={"config": str(config), "problem": problem},
        )
    _spare_the_collector()
    _give_memory_back()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(options, config, problem))
    except Exception as exc:  # noqa: BLE001 - the outermost supervisor: what comes this far ends the process
        return _tell(list(_leaves(exc)))
    _log.info("agent stopped")
    return ExitCode.DONE


def _last_good(config: Path) -> AgentOptions:
    """Return the last good configuration out of the state directory, found as well as a broken file allows.

    Raises:
        EdgeAgentError: there is none, or it is no good any more either.
    """
    source = last_good.read(state_directory(config)).source
    return load_source(source, Registry(), needs_device_files=False)


def _first_problem(error: EdgeAgentError) -> str:
    problems = list(lines(error))
    return problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


async def _run(options: AgentOptions, config: Path, problem: str) -> None:
    agent = Agent(options, why_last_good=problem)
    ProcessCollector(registry=agent.metrics.registry)
    await _until_stopped(agent, Reloader(agent, config))


def _spare_the_collector() -> None:
    """Keep the garbage collector from walking through modules and configuration again and again.

    They stay for good, and readings make no cycles. Untold, it takes a third of the CPU at full load.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


def _give_memory_back() -> None:
    """Return to the system what reading the configuration took, as far as the C library can (glibc)."""
    if hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


async def _until_stopped(agent: Agent, reloader: Reloader) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(agent.run(), name="agent")
        reloading = group.create_task(reloader.run(), name="reload")
        running.add_done_callback(lambda _: reloading.cancel())
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)

        def stop(number: signal.Signals) -> None:
            _log.info("asked to stop; once more ends at once", extra={"signal": number.name})
            for each in _STOP_SIGNALS:
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_DFL)  # works even if the loop is stuck
            reloading.cancel()  # first: it must start nothing in an agent that ends
            running.cancel()

        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, stop, number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - comes with the extra "speed"
    except ImportError:
        return None
    return uvloop.new_event_loop


def _tell(errors: list[Exception]) -> ExitCode:
    """Log why the agent ends; of several reasons, the exit code is that of the first one that has its own."""
    codes = []
    for error in errors:
        is_known = isinstance(error, EdgeAgentError)
        _log.critical(
            "agent ends" if is_known else "agent ends because of a bug",
            extra={"reason": str(error) or type(error).__name__},
            exc_info=None if is_known else error,
        )
        codes.append(exit_code(error) if isinstance(error, EdgeAgentError) else ExitCode.FAILED)
    return next((code for code in codes if code is not ExitCode.FAILED), ExitCode.FAILED)


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
