"""What befalls an OPC UA server and the way to it, each with what heals it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.servers.link import Link, Proxy
from tests.servers.opcua_server import OpcUaServer


@dataclass
class Plant:
    """A server behind a link.

    Attributes:
        restart: options for the next start of the server, which change what it shows.
    """

    server: OpcUaServer
    way: Proxy
    restart: Callable[[], dict[str, Any]] = dict

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.way.port}"

    async def kill(self) -> None:
        await asyncio.to_thread(self.server.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start, **self.restart())

    async def pause(self) -> None:
        self.server.pause()

    async def resume(self) -> None:
        self.server.resume()

    async def black_hole(self) -> None:
        self.way.link = Link.HALF_OPEN

    async def cut(self) -> None:
        self.way.link = Link.CLOSING

    async def mend(self) -> None:
        self.way.link = Link.GOOD

    async def close_sessions(self) -> None:
        await asyncio.to_thread(self.server.order, "closeSessions")

    async def nothing(self) -> None:
        pass


Step = Callable[[Plant], Awaitable[None]]
DISASTERS: Mapping[str, tuple[Step, Step]] = {
    "killed and restarted with other namespace indexes": (Plant.kill, Plant.start),
    "paused": (Plant.pause, Plant.resume),
    "black hole": (Plant.black_hole, Plant.mend),
    "connections closed": (Plant.cut, Plant.mend),
    "sessions deleted": (Plant.close_sessions, Plant.nothing),
}
"""What begins and what ends it."""
