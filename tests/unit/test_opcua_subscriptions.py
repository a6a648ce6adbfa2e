"""More points than a server takes in one subscription: they are spread over several, each watched by itself."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from asyncua.client.ua_client import UaClient

from edge_agent.errors import DeviceUnavailableError
from edge_agent.model import LossReason, Lost, ReadingBatch
from edge_agent.testing.fakes import FakeClock
from tests.servers.opcua.fake_services import SUBSCRIPTION, FakeServer
from tests.unit.test_opcua_session import change, config, prepared, run

SECOND, THIRD = SUBSCRIPTION + 10, SUBSCRIPTION + 20
NO_ROOM = (
    "the server has no room for more variables in its subscriptions; these are polled, each at its interval, "
    "until the next connection"
)
NO_ROOM_FOR_EVENTS = "the server has no room for more events in its subscriptions; these are tried again"


async def statuses(server: FakeServer, count: int = 0, **keys: Any) -> tuple[dict[int, int], list[str]]:
    """Return the statuses of the points that are told without a notification, and what is remarked: 0 = polled."""
    session = await prepared(server, config(count, **keys))
    told: dict[int, int] = {}

    async def emit(batch: ReadingBatch) -> None:
        told.update(batch.statuses())

    server.notifications = [change(1, subscription=0)]  # of none of ours: the end
    with pytest.raises(DeviceUnavailableError):
        await session.run(emit)
    return told, [remark for remark in session.remarks if "no room" in remark]


@pytest.mark.parametrize(
    ("told", "enforced", "sizes"),
    [
        (2, 2, [2, 2, 1]),
        (5, 5, [5]),
        (0, 2, [2, 2, 1]),  # 0: no limit (OPC 10000-5 §6.3.2)
        (None, 2, [2, 2, 1]),
        (3, 2, [2, 2, 1]),  # less than it said
        (1, 1, [1, 1, 1, 1, 1]),
    ],
)
async def test_points_are_spread_over_as_many_subscriptions_as_it_takes(
    told: int | None, enforced: int, sizes: list[int]
) -> None:
    server = FakeServer()
    server.max_items, server.largest_subscription = told, enforced
    assert await statuses(server, 5) == ({}, [])
    assert [len(points) for points in server.subscriptions.values()] == sizes
    assert set.union(*server.subscriptions.values()) == set(range(5))


async def test_a_limit_that_the_server_tells_is_not_tried() -> None:
    server = FakeServer()
    server.max_items = 2
    await prepared(server, config(5))
    assert [params.ClientHandle for params in server.asked] == [0, 1, 2, 3, 4]


async def test_a_limit_of_all_subscriptions_together_leaves_no_empty_ones_behind() -> None:
    server = FakeServer()
    server.largest_subscription, server.most_items = 2, 3
    refused, remarks = await statuses(server, 5)
    assert refused == dict.fromkeys([3, 4], 0)
    assert remarks == [f"{NO_ROOM}: p3, p4"]
    assert server.subscriptions == {SUBSCRIPTION: {0, 1}, SECOND: {2}}


async def test_a_server_that_has_no_room_at_all_is_not_asked_for_more_subscriptions() -> None:
    server = FakeServer()
    server.most_items = 0
    assert await statuses(server, 2) == (dict.fromkeys([0, 1], 0), [f"{NO_ROOM}: p0, p1"])
    assert server.subscriptions == {SUBSCRIPTION: set()}


async def test_a_server_that_gives_no_further_subscription_costs_the_points_that_have_no_room() -> None:
    server = FakeServer()
    server.max_items, server.most_subscriptions = 2, 2
    server.item_codes = {3: 0x8034_0000}
    refused, remarks = await statuses(server, 6)
    assert refused == {3: 0x8034_0000, 4: 0, 5: 0}
    assert remarks == [f"{NO_ROOM}: p4, p5"]


async def test_subscriptions_leave_room_for_other_requests() -> None:
    server = FakeServer()
    server.max_items = 1
    refused, _ = await statuses(server, 60)
    assert list(refused) == list(range(50, 60))
    assert len(server.subscriptions) == 50 <= UaClient._max_concurrent_requests / 2


async def test_each_interval_has_a_subscription_before_any_has_another() -> None:
    server = FakeServer()
    server.max_items, server.most_subscriptions = 2, 3
    points = [{"name": f"p{i}", "node": f"i={i}"} for i in range(8)]
    points[7]["publishing_interval"] = "60s"
    await prepared(server, config(points=points))
    assert server.subscriptions == {SUBSCRIPTION: {0, 1}, SECOND: {7}, THIRD: {2, 3}}


async def test_an_interval_for_which_there_is_no_subscription_is_polled() -> None:
    server = FakeServer()
    server.most_subscriptions = 1
    points = [{"name": "p0", "node": "i=0"}, {"name": "p1", "node": "i=1", "publishing_interval": "60s"}]
    assert await statuses(server, points=points) == ({1: 0}, [f"{NO_ROOM}: p1"])
    assert server.subscriptions == {SUBSCRIPTION: {0}}


async def test_events_for_which_there_is_no_room_are_bad_for_that_reason_and_tried_again() -> None:
    server = FakeServer()
    server.most_items = 0
    points = [{"name": "alarms", "node": "i=2253", "events": "alarms"}]
    assert await statuses(server, points=points) == ({0: 0x80DB_0000}, [f"{NO_ROOM_FOR_EVENTS}: alarms"])


async def test_a_server_without_a_subscription_for_us_is_unavailable() -> None:
    server = FakeServer()
    server.most_subscriptions = 0
    with pytest.raises(DeviceUnavailableError, match="no subscription left"):
        await prepared(server, config(2))


async def test_notifications_are_counted_for_each_subscription_and_a_gap_is_one_of_its_own_points() -> None:
    server, lost = FakeServer(), list[Lost]()
    server.max_items = 2
    session = await prepared(server, config(5))
    server.notifications = [
        change(1, (0, 10)),
        change(1, (2, 12), subscription=SECOND),
        change(1, (4, 14), subscription=THIRD),
        change(2, (1, 11)),
        change(3, (3, 13), subscription=SECOND),
    ]
    got, why = await run(server, session, lost)
    assert got == [10, 12, 14, 11]
    assert "1 notifications before 3 are missing" in why
    assert [(told.reason, told.points, told.readings) for told in lost] == [(LossReason.MISSED, (2, 3), 1)]


async def test_one_silent_subscription_is_a_loss_while_another_talks() -> None:
    server, clock = FakeServer(), FakeClock()
    server.max_items = 2
    session = await prepared(server, config(3, interval="1s", keep_alive="5s", timeout="1s"), clock)
    answer, sequence = server.publish, count(1)
    values: list[object] = []

    async def publish(acknowledgements: Sequence[Any]) -> Any:
        await clock.sleep(0.5)
        number = next(sequence)
        server.notifications.append(change(number, (0, number)))
        return await answer(acknowledgements)

    async def emit(batch: ReadingBatch) -> None:
        values.extend(value for column in batch.columns for value in column.values or ())

    server.publish = publish  # type: ignore[method-assign]
    began_s = clock.monotonic_s()
    with pytest.raises(ExceptionGroup) as told:  # noqa: PT012 - the loss ends the group
        async with asyncio.TaskGroup() as group:
            running = group.create_task(session.run(emit))
            while not running.done():
                await clock.advance(0.5)
    assert told.group_contains(DeviceUnavailableError, match=r"said nothing for 6\.0 s")
    assert clock.monotonic_s() - began_s == 6.0
    assert len(values) >= 20
