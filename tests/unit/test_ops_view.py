"""What viewers get, and what it costs the loop."""

import asyncio
import json
import logging
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.collect.options import DeviceOptions
from edge_agent.current import Current, DevicePhase
from edge_agent.errors import OutboxError
from edge_agent.model import Column, DataType, Quality, ReadingBatch
from edge_agent.ops import view
from edge_agent.ops.log_ring import MAX_FIELDS, MAX_RECORDS, MAX_TEXT, LogRing
from edge_agent.ops.view import FRESH_S, LOSSES_FRESH_S, MAX_POINTS, Sources, View
from edge_agent.testing.fakes import START_NS, FakeClock
from tests.cases.config.kit import HEAD, load_text


class Slow(FakeClock):
    """A clock that moves on by a millisecond whenever it is looked at."""

    def monotonic_s(self) -> float:
        self._monotonic_s += 0.001
        return self._monotonic_s


def devices(count: int, points: int) -> tuple[DeviceOptions, ...]:
    listed = ", ".join(f"{{name: p{n}, address: {n % 100}, unit: bar}}" for n in range(points))
    text = "".join(f"  - {{id: d{n}, driver: fake, name: Dévice {n}, points: [{listed}]}}\n" for n in range(count))
    return load_text(f"{HEAD}devices:\n{text}").devices


class Viewed:
    def __init__(self, options: tuple[DeviceOptions, ...], clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.current = Current(self.clock)
        for one in options:
            self.current.add(one.table)
        self.heads = 0
        self.losses: Callable[[], list[dict[str, Any]]] = list
        sources = Sources(
            head=self.head,
            devices=lambda: options,
            describe=lambda one: {"id": one.id},
            current=self.current,
            code=lambda device: f"88.000.7/{device}",
            losses=lambda: self.losses(),  # noqa: PLW0108 - tests put another one there
        )
        self.view = View(sources, self.clock)

    def head(self) -> dict[str, object]:
        self.heads += 1
        return {"head": self.heads}

    def device(self, device: str, search: str = "") -> dict[str, Any]:
        body = self.view.device(device, search)
        assert body is not None
        found: dict[str, Any] = json.loads(body)
        return found


async def test_the_loop_has_its_turn_while_much_is_built() -> None:
    viewed = Viewed(devices(20, 1), Slow())
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(other())
        for build in (viewed.view.status, viewed.view.overview):
            turns = 0
            assert len(json.loads(await build())["devices"]) == 20
            assert turns >= 20 // (view.SLICE_S / 0.001 + 1)
        task.cancel()


async def test_however_many_look_it_is_built_once_a_second() -> None:
    viewed = Viewed(devices(1, 1))
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(viewed.view.overview()) for _ in range(50)]
    assert {task.result() for task in asked} == {await viewed.view.overview()}
    assert viewed.heads == 1
    await viewed.clock.advance(FRESH_S)
    await viewed.view.overview()
    assert viewed.heads == 2


async def test_a_viewer_who_goes_away_leaves_the_next_one_its_turn() -> None:
    viewed = Viewed(devices(20, 1), Slow())
    async with asyncio.TaskGroup() as group:
        first = group.create_task(viewed.view.overview())
        await asyncio.sleep(0)
        first.cancel()
    assert len(json.loads(await viewed.view.overview())["devices"]) == 20


async def test_a_device_is_summed_up_by_phase_reason_and_points_that_are_not_good() -> None:
    options = devices(1, 4)
    viewed = Viewed(options)
    current = viewed.current[options[0].id]
    good = Column(DataType.UINT16, array("H", [0, 1]), array("H", [1, 2]), array("I", [0, Quality.UNCERTAIN]))
    current.update(ReadingBatch(options[0].id, START_NS, (good, Column.bad([2], Quality.BAD_TIMEOUT))))
    current.enter(DevicePhase.ONLINE)
    (device,) = json.loads(await viewed.view.overview())["devices"]
    assert device["name"] == "Dévice 0"
    assert (device["phase"], device["points_count"], device["not_good"]) == ("online", 4, 3)
    await viewed.clock.advance(FRESH_S)
    current.enter(DevicePhase.OFFLINE, "nothing listens there")
    (device,) = json.loads(await viewed.view.overview())["devices"]
    assert (device["phase"], device["reason"]) == ("offline", "nothing listens there")


def test_points_are_told_so_that_a_browser_loses_no_digit() -> None:
    options = devices(1, 6)
    viewed = Viewed(options)
    columns = (
        Column(DataType.INT64, array("H", [0, 1]), array("q", [2**53, 2**53 - 1])),
        Column(DataType.BYTES, array("H", [2]), [b"\x00\xff" * 1000]),
        Column(DataType.FLOAT64, array("H", [3]), array("d", [float("nan")])),
        Column.bad([4], 0x80AB0000),
    )
    viewed.current[options[0].id].update(ReadingBatch(options[0].id, START_NS, columns))
    device = viewed.device("d0")
    assert [point["value"] for point in device["points"]] == [
        str(2**53),
        2**53 - 1,
        "00ff" * 100,
        None,
        None,
        None,
    ]
    assert [point["severity"] for point in device["points"]] == ["good"] * 4 + ["bad"] * 2
    assert [point["quality"] for point in device["points"]][4:] == ["0x80AB0000", "BAD_WAITING_FOR_INITIAL_DATA"]
    assert device["code"] == "88.000.7/d0"
    assert device["now_ns"] == START_NS


def test_points_are_bounded_and_searched_for() -> None:
    viewed = Viewed(devices(1, MAX_POINTS + 100))
    device = viewed.device("d0")
    assert (len(device["points"]), device["matching"], device["total"]) == (MAX_POINTS, 600, 600)
    device = viewed.device("d0", "P59")
    assert [point["name"] for point in device["points"]] == ["p59", *(f"p{n}" for n in range(590, 600))]
    assert viewed.view.device("d1") is None


async def test_losses_are_read_seldom_newest_first_and_never_in_the_way() -> None:
    viewed = Viewed(())
    viewed.losses = lambda: [{"id": 1}, {"id": 2}]
    assert json.loads(await viewed.view.losses()) == {"losses": [{"id": 2}, {"id": 1}]}

    def fail() -> list[dict[str, Any]]:
        raise OutboxError("the disk is gone")

    viewed.losses = fail
    assert len(json.loads(await viewed.view.losses())["losses"]) == 2
    await viewed.clock.advance(LOSSES_FRESH_S)
    assert json.loads(await viewed.view.losses()) == {"losses": []}


def test_the_log_ring_keeps_the_last_of_the_agents_records_each_cut() -> None:
    ring = LogRing()
    ours, foreign = logging.getLogger("edge_agent.collect"), logging.getLogger("somebody")
    ours.setLevel(logging.DEBUG)
    try:
        with ring.listening():
            for number in range(MAX_RECORDS + 5):
                ours.warning("record %s", number, extra={f"f{n}": "x" * 1000 for n in range(20)})
            ours.debug("too fine")
            foreign.error("not ours")
        ours.error("after the end")
    finally:
        ours.setLevel(logging.NOTSET)
    records: list[dict[str, Any]] = ring.newest_first()
    assert [record["message"] for record in records] == [f"record {n}" for n in range(104, 4, -1)]
    assert {len(record["fields"]) for record in records} == {MAX_FIELDS}
    assert {len(value) for record in records for value in record["fields"].values()} == {MAX_TEXT}


@pytest.mark.slow
async def test_500_devices_of_100_points_hold_up_the_loop_for_a_moment_only() -> None:
    (one,) = devices(1, 100)
    clock = SystemClock()
    options = tuple(replace(one, id=f"d{n}") for n in range(500))  # type: ignore[arg-type]
    current = Current(clock)
    for device in options:
        added = current.add(replace(device.table, device=device.id))
        points = array("H", range(100))
        added.update(ReadingBatch(device.id, 1, (Column(DataType.FLOAT64, points, array("d", range(100))),)))

    def describe(device: DeviceOptions) -> dict[str, object]:
        return {"id": device.id, "points": view._points(current[device.id], "")[0]}

    sources = Sources(dict, lambda: options, describe, current, lambda _: None, list)
    worst_s = 0.0

    async def other() -> None:
        nonlocal worst_s
        while True:
            before_s = time.thread_time()  # what other processes take does not count
            await asyncio.sleep(0)
            worst_s = max(worst_s, time.thread_time() - before_s)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(other())
        began_s = time.thread_time()
        body = await View(sources, clock).status()
        whole_s = time.thread_time() - began_s
        task.cancel()
    assert len(json.loads(body)["devices"]) == 500
    assert 0 < worst_s < whole_s / 3
