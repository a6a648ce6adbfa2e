"""What is at an address: units, identification, what can be read, and how known values are kept there.

Loaded by ``edge-agent probe``, and by a running agent at the first request of one. It never writes to a device.
"""

from edge_agent.probing import ProberSpec
from edge_agent_modbus.probe.run import run
from edge_agent_modbus.probe.way import exchange, reach

PROBER = ProberSpec(run, exchange, reach)
