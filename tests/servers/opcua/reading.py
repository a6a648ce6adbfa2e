"""A device of the driver under test, and its readings by point name."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from edge_agent.driver import Device, Session
from edge_agent.model import Lost, ReadingBatch, is_bad
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua import DRIVER
from edge_agent_opcua.config import OpcUaDevice
from tests.servers.opcua_server import NAMESPACE


class Reading(NamedTuple):
    """One reading, as a publisher would show it: the value of a Bad one is None."""

    value: Any
    status: int
    time_ns: int
    type: str
    server_ns: int


def points(names: Iterable[str], **more: Any) -> list[dict[str, Any]]:
    """Return a point for each of the server's variables ``names``; the point is called as the variable is."""
    return [{"name": name.replace(".", "_"), "node": f"nsu={NAMESPACE};s={name}"} | more for name in names]


def make_device(
    url: str, table: Sequence[dict[str, Any]], *, context: FakeContext | None = None, **keys: Any
) -> tuple[Device, OpcUaDevice]:
    written = {"id": "cnc", "driver": "opcua", "url": url, "interval": "100ms", "points": table} | keys
    config = OpcUaDevice.model_validate(written)
    return DRIVER.create(context or FakeContext("cnc"), config), config


def readings(batch: ReadingBatch, config: OpcUaDevice) -> list[tuple[str, Reading]]:
    """Return name and reading of everything in ``batch``, column by column."""
    result = []
    for column in batch.columns:
        for i, point in enumerate(column.points):
            status = column.statuses[i] if column.statuses is not None else 0
            content = None if is_bad(status) or column.values is None else column.values[i]
            time_ns = batch.time_ns + (column.offsets_ns[i] if column.offsets_ns is not None else 0)
            server_ns = time_ns + (column.lags_ns[i] if column.lags_ns is not None else 0)
            reading = Reading(content, status, time_ns, column.data_type.word, server_ns)
            result.append((config.points[point].name, reading))
    return result


class Collected:
    """What a session reported so far."""

    def __init__(self, config: OpcUaDevice, session: Session | None = None) -> None:
        self._config = config
        self.session = session
        self.batches: list[ReadingBatch] = []
        self.all: list[tuple[str, Reading]] = []
        self.lost: list[Lost] = []

    async def emit(self, batch: ReadingBatch) -> None:
        self.lost += batch.lost
        if not len(batch):
            return
        self.batches.append(batch)
        self.all += readings(batch, self._config)

    @property
    def latest(self) -> dict[str, Reading]:
        return dict(self.all)

    async def all_of(self, count: int, *, within_s: float = 30.0) -> dict[str, Reading]:
        """Wait until ``count`` points have reported, and return their latest readings."""
        await eventually(lambda: len(self.latest) >= count, within_s=within_s, what=f"{count} points")
        return self.latest


async def connect(device: Device, *, within_s: float = 30.0) -> Session:
    async with asyncio.timeout(within_s):
        return await device.connect()


@asynccontextmanager
async def reporting(device: Device, config: OpcUaDevice) -> AsyncIterator[Collected]:
    """Run a session while the block runs."""
    session = await connect(device)
    collected = Collected(config, session)
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(session.run(collected.emit))
            yield collected
            running.cancel()
    finally:
        await session.close()


async def read_once(device: Device, config: OpcUaDevice) -> dict[str, Reading]:
    """Connect, read every polled point once, close."""
    session = await connect(device)
    try:
        result: dict[str, Reading] = {}
        for request in device.plan(device.polled, frozenset()):
            async with asyncio.timeout(30):
                result.update(readings(await session.read(request), config))
        return result
    finally:
        await session.close()


async def first_of(device: Device, config: OpcUaDevice, mode: str, count: int) -> dict[str, Reading]:
    """Return ``count`` points: asked for once if ``mode`` is poll, else the first that are reported."""
    if mode == "poll":
        return await read_once(device, config)
    async with reporting(device, config) as collected:
        return await collected.all_of(count)
