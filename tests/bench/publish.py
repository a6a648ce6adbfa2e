"""Print what publishing costs on this machine: encoding, and QoS 1 to Mosquitto with and without a thread.

``python -m tests.bench.publish``
"""

import asyncio
import math
import resource
import time
from array import array
from collections.abc import Callable, Coroutine
from functools import partial

import msgspec
import orjson
import paho.mqtt.client as paho

from edge_agent.model import (
    Column,
    DataType,
    DeviceId,
    Point,
    PointName,
    PointTable,
    ReadingBatch,
    ReadingClass,
)
from edge_agent.outbox.rows import Row
from edge_agent.publish.json_encoder import encode_row
from edge_agent.publish.messages import Message
from edge_agent.publish.mqtt import Acknowledgement, MqttSession
from tests.servers.memory_outbox import T0_NS
from tests.servers.mosquitto import mosquitto
from tests.servers.publishing import options_for

POINTS, SCANS = 100, 10
MESSAGES, PAYLOAD = 5_000, b"x" * 5_000
DEVICE = DeviceId("press-01")
TABLE = PointTable(DEVICE, tuple(Point(PointName(f"point_{i:03d}")) for i in range(POINTS)))


def _row(data_type: DataType, scans: list[list[int]]) -> Row:
    batches = []
    for scan, indexes in enumerate(scans):
        raw = [round(1000 * abs(math.sin(i + scan)), 2) for i in indexes]
        values = array(data_type.typecode, raw if data_type.is_float else map(int, raw))
        batches.append(
            ReadingBatch(DEVICE, T0_NS + scan * 10**8, (Column(data_type, array("H", indexes), values),))
        )
    count = sum(map(len, batches))
    return Row(
        "k3f9",
        8123,
        TABLE,
        ReadingClass.TREND,
        count,
        T0_NS,
        T0_NS,
        tuple(batches),
        historical=False,
        body_bytes=1,
    )


def _encoding() -> None:
    polled = [list(range(POINTS))] * SCANS
    changed = [[i for i in range(POINTS) if (i + scan) % 3] for scan in range(15)]
    for name, row in (
        ("10 scans x 100 float32", _row(DataType.FLOAT32, polled)),
        ("10 scans x 100 float64", _row(DataType.FLOAT64, polled)),
        ("10 scans x 100 uint16", _row(DataType.UINT16, polled)),
        ("15 scans, 2 of 3 changed", _row(DataType.FLOAT64, changed)),
    ):
        us = _best_us(partial(encode_row, row)) / row.count
        size = len(encode_row(row)) / row.count
        decoded = orjson.loads(encode_row(row))
        orjson_us = _best_us(partial(orjson.dumps, decoded)) / row.count
        msgspec_us = _best_us(partial(msgspec.json.encode, decoded)) / row.count
        print(
            f"{name:26s} {us:6.3f} us/reading {size:6.1f} B/reading   "
            f"(ready lists: msgspec {msgspec_us:.3f}, orjson {orjson_us:.3f} us)"
        )


def _best_us(call: Callable[[], object], times: int = 50, rounds: int = 7) -> float:
    best = math.inf
    for _ in range(rounds):
        began_s = time.perf_counter()
        for _ in range(times):
            call()
        best = min(best, (time.perf_counter() - began_s) / times * 1e6)
    return best


async def _on_the_loop(port: int) -> tuple[float, float]:
    options = options_for(port)
    session = await MqttSession.connect(options, options.servers[0], Message("will", b"x"))
    done, finished = 0, asyncio.Event()

    def acknowledged(_acknowledgement: Acknowledgement) -> None:
        nonlocal done
        done += 1
        if done == MESSAGES:
            finished.set()

    session.on_acknowledged = acknowledged
    before = _now()
    for _ in range(MESSAGES):
        await session.publish(Message("a/b", PAYLOAD))
    await finished.wait()
    after = _now()
    session.abort()
    return after[0] - before[0], after[1] - before[1]


async def _with_a_thread(port: int) -> tuple[float, float]:
    loop = asyncio.get_running_loop()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)  # type: ignore[attr-defined]
    client.max_inflight_messages_set(0)
    slots, connected, done = asyncio.Semaphore(options_for(port).max_in_flight), asyncio.Event(), 0
    finished = asyncio.Event()

    def acknowledged() -> None:
        nonlocal done
        done += 1
        if done == MESSAGES:
            finished.set()
        slots.release()

    client.on_publish = lambda *_: loop.call_soon_threadsafe(acknowledged)  # type: ignore[assignment]
    client.on_connect = lambda *_: loop.call_soon_threadsafe(connected.set)  # type: ignore[assignment]
    client.connect("127.0.0.1", port)
    client.loop_start()
    await connected.wait()
    before = _now()
    for _ in range(MESSAGES):
        await slots.acquire()
        client.publish("a/b", PAYLOAD, 1)
    await finished.wait()
    after = _now()
    client.disconnect()
    client.loop_stop()
    return after[0] - before[0], after[1] - before[1]


def _now() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def _sending() -> None:
    ways: tuple[tuple[str, Callable[[int], Coroutine[None, None, tuple[float, float]]]], ...] = (
        ("paho on the event loop", _on_the_loop),
        ("paho with its thread", _with_a_thread),
    )
    with mosquitto() as broker:
        for name, way in ways * 3:
            wall_s, cpu_s = asyncio.run(way(broker.port))
            print(f"{name:26s} {MESSAGES / wall_s:7.0f} msg/s {cpu_s / MESSAGES * 1e6:6.1f} us CPU/message")


if __name__ == "__main__":
    _encoding()
    _sending()
