"""What the agent knows of one device, and forgetting it, over the control socket.

Two actions, each with the argument ``device``: ``device`` answers its state, values, plan and what was learned of
it; ``forget`` forgets what was learned, so that the device is searched anew, and answers how much that was.
"""

from collections.abc import Callable
from typing import Any

from edge_agent.collect.fleet import Fleet
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.errors import EdgeAgentError
from edge_agent.model import DeviceId
from edge_agent.ops.actions import Actions, text_of


class DeviceActions:
    """The devices of one agent.

    Args:
        fleet: the devices, as they come and go.
        status: returns what ``/status`` says of a device.
    """

    def __init__(self, fleet: Fleet, status: Callable[[DeviceId], dict[str, object]]) -> None:
        self._fleet = fleet
        self._status = status

    def offer(self, actions: Actions) -> None:
        """Let them be asked for."""
        actions.add("device", self._tell)
        actions.add("forget", self._forget, changes=True)

    async def _tell(self, arguments: dict[str, Any]) -> object:
        supervisor = self._asked(arguments)
        return self._status(supervisor.device) | supervisor.known()

    async def _forget(self, arguments: dict[str, Any]) -> object:
        supervisor = self._asked(arguments)
        device = supervisor.device
        forgotten = supervisor.forget() | {"found": len(self._fleet[device].options.found) > 0}
        await self._fleet.forget_found(device)
        return forgotten

    def _asked(self, arguments: dict[str, Any]) -> DeviceSupervisor:
        name = text_of(arguments, "device")
        for device, member in self._fleet.items():
            if device == name:
                return member.supervisor
        known = ", ".join(self._fleet) or "none"
        raise EdgeAgentError(f"the agent has no device {name!r}; it has {known}")
