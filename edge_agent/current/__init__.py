"""Latest values and device state: for births, the live table and the status page."""

from edge_agent.current.state import Current, DeviceCurrent, DevicePhase, LatestReading

__all__ = ["Current", "DeviceCurrent", "DevicePhase", "LatestReading"]
