"""``edge-agent simulate``."""

import asyncio
import signal
from pathlib import Path

from edge_agent.cli.exits import ExitCode
from edge_agent.cli.simulate_view import View, open_view
from edge_agent.clock import Clock, SystemClock
from edge_agent.config.simulated import SimulatedDevices, load_simulated
from edge_agent.errors import EdgeAgentError, SimulationError
from edge_agent.registry import Registry
from edge_agent.simulating import Simulation
from edge_agent.together import together


def simulate(path: Path, *, host: str, port_base: int | None, seed: int, as_json: bool) -> ExitCode:
    """Serve the devices of the file at ``path`` until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the file is wrong, with every problem.
        SimulationError: nothing to simulate, or an address cannot be had.
    """
    simulated = load_simulated(path, Registry())
    if not any(True for _ in simulated.devices):
        raise SimulationError(f"{path} has no device that can be simulated; only modbus devices can be")
    with open_view(simulated, as_json=as_json) as view:
        asyncio.run(_until_stopped(simulated, view, Simulation(SystemClock(), view.tell, host, port_base, seed)))
    return ExitCode.DONE


async def _until_stopped(simulated: SimulatedDevices, view: View, simulation: Simulation) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with together(EdgeAgentError) as group:
        tasks = [group.create_task(spec.serve(models, simulation)) for spec, models in simulated.groups if models]
        tasks.append(group.create_task(_refresh(view, simulation.clock)))
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _refresh(view: View, clock: Clock) -> None:
    while True:
        await clock.sleep(view.every_s)
        view.show()
