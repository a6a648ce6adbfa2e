"""One configured OPC UA server: what is polled, what is reported, and how to connect."""

import asyncio
import importlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from edge_agent.driver import Context, Session, Writer
from edge_agent_opcua.conditions import Conditions
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.plan import Read, addresses, polled_points, reads, reported_points
from edge_agent_opcua.resumption import Past

_SESSION = "edge_agent_opcua.session"
_WRITER = "edge_agent_opcua.writer"


class Device:
    """See ``edge_agent.driver.Device``."""

    def __init__(self, context: Context, config: OpcUaDevice) -> None:
        self.polled: Sequence[int] = polled_points(config)
        self.reported: Sequence[int] = reported_points(config)
        self._context = context
        self._config = config
        self._nodes = addresses(config)
        wanted = ((index, point, point.wanted) for index, point in enumerate(config.points))
        notifiers = {index: (f"{point.name} {point.node}", it) for index, point, it in wanted if it is not None}
        self._conditions = Conditions(context.state, notifiers)
        self._past = Past()

    def plan(self, points: Sequence[int], refused: AbstractSet[int]) -> Sequence[Read]:
        return reads(self._nodes, points, refused)

    async def connect(self) -> Session:
        # asyncua takes most of a second to import: where a device needs it only, and on a thread, for the second
        # device too, which waits there until the first one has imported it.
        session = await asyncio.to_thread(importlib.import_module, _SESSION)
        opened: Session = await session.open_session(
            self._config, self._nodes, self._context, self._conditions, self._past
        )
        return opened


def create(context: Context, config: OpcUaDevice) -> Device:
    """Make the device of a validated config."""
    return Device(context, config)


def writer(config: OpcUaDevice, session: Session) -> Writer:
    """Make the writer of a device over its session, which has loaded asyncua."""
    made: Writer = importlib.import_module(_WRITER).OpcUaWriter(config, session)
    return made
