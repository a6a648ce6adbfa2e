"""The simulated plant in a process of its own: ``python -m edge_agent.demo.plant``.

Prints one line of JSON with its ports, runs until its standard input closes.
"""

import asyncio
import sys
import time

from edge_agent.demo.child import announce, parent_gone
from edge_agent.demo.cnc import SimulatedCnc

_REFRESH_S = 0.1


async def run() -> None:
    """Serve until the parent is gone."""
    try:
        from edge_agent.demo.plc import SimulatedPlc  # noqa: PLC0415  # comes with the extra "demo"
    except ImportError:
        sys.exit("the simulated PLC is missing: pip install 'edge-agent[demo]'")
    start_s = time.monotonic()

    def now_s() -> float:
        return time.monotonic() - start_s

    plc, cnc = SimulatedPlc(now_s), SimulatedCnc(now_s)
    try:
        announce({"modbus": await plc.start(), "opcua": await cnc.start()})
        async with asyncio.TaskGroup() as group:
            refreshing = group.create_task(_refresh(cnc), name="plant:refresh")
            await parent_gone()
            refreshing.cancel()
    finally:
        await plc.stop()
        await cnc.stop()


async def _refresh(cnc: SimulatedCnc) -> None:
    while True:
        await cnc.refresh()
        await asyncio.sleep(_REFRESH_S)


if __name__ == "__main__":
    asyncio.run(run())
