"""What a value costs the OPC UA driver, by subscription and by read: ``python -m tests.bench.opcua [count]``.

The server is node-opcua in a process of its own; only the CPU time of this process counts.
"""

import asyncio
import sys
import time

from edge_agent.model import ReadingBatch
from tests.servers.opcua.reading import connect, make_device, points
from tests.servers.opcua_server import OpcUaServer, opcua_server

SETTLE_S, MEASURE_S, READS = 2.0, 8.0, 20


async def subscribe(server: OpcUaServer, names: list[str]) -> None:
    table = points(names, sampling_interval="50ms")
    device, _ = make_device(server.url, table, publishing_interval="100ms")
    session = await connect(device, within_s=30)
    count = 0

    async def emit(batch: ReadingBatch) -> None:
        nonlocal count
        count += len(batch)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(session.run(emit))
        await asyncio.sleep(SETTLE_S)
        count, cpu_s, began_s = 0, time.process_time(), time.monotonic()
        await asyncio.sleep(MEASURE_S)
        cpu_s, took_s = time.process_time() - cpu_s, time.monotonic() - began_s
        running.cancel()
    await session.close()
    share, each_us = cpu_s / took_s, cpu_s / count * 1e6
    print(f"opcua-sub: {count / took_s:.0f} values/s, {share:.1%} of a core, {each_us:.1f} us/value")


async def read(server: OpcUaServer, names: list[str]) -> None:
    device, _ = make_device(server.url, points(names), mode="poll")
    session = await connect(device, within_s=30)
    requests = device.plan(device.polled, frozenset())
    cpu_s = time.process_time()
    for _ in range(READS):
        for request in requests:
            await session.read(request)
    cpu_s = time.process_time() - cpu_s
    await session.close()
    print(f"opcua-read: {cpu_s / READS / len(names) * 1e6:.1f} us/value")


async def main(server: OpcUaServer, count: int) -> None:
    names = [f"Bench.{i:04}" for i in range(count)]
    await subscribe(server, names)
    await read(server, names)


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with opcua_server(bench=size) as bench_server:
        asyncio.run(main(bench_server, size))
