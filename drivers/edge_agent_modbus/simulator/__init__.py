"""Modbus devices that are not there: signals, faults, and the protocol as real ones speak it.

Loaded by ``edge-agent simulate`` and by tests, never by a running agent.
"""

from edge_agent.driver import SimulatorSpec
from edge_agent_modbus.simulator.config import SimulatedDevice
from edge_agent_modbus.simulator.serve import serve

SIMULATOR = SimulatorSpec(SimulatedDevice, serve)
