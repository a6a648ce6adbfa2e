"""A publisher that runs for the length of a block."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.metrics import Metrics
from edge_agent.model import GatewayId, PublisherId
from edge_agent.publish.options import MqttOptions, ServerOptions
from edge_agent.publish.ports import Codes, Outbox
from edge_agent.publish.publisher import Publisher


def options_for(*ports: int, use_tls: bool = False, **more: Any) -> MqttOptions:
    """Return options for brokers on ``ports`` of this machine, with pauses short enough for a test."""
    servers = tuple(ServerOptions("127.0.0.1", port, use_tls) for port in ports)
    given: dict[str, Any] = {
        "id": PublisherId("cloud"),
        "gateway": GatewayId("gw-01"),
        "client_id": "gw-01",
        "retry_max_s": 0.05,
    }
    return MqttOptions(servers=servers, **(given | more))


@asynccontextmanager
async def publishing(
    options: MqttOptions,
    outbox: Outbox,
    *,
    codes: Codes | None = None,
    metrics: Metrics | None = None,
    clock: Clock | None = None,
    random: Callable[[], float] = random.random,
) -> AsyncIterator[Publisher]:
    """Run a publisher; leaving the block stops it in order."""
    publisher = Publisher(
        options,
        outbox,
        codes=codes,
        health=lambda: {"pending_rows": 0},
        clock=clock or SystemClock(),
        metrics=metrics or Metrics(),
        random=random,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(publisher.run())
        try:
            yield publisher
        finally:
            task.cancel()
