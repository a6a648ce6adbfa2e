"""What real servers do too rarely to test against: sequence gaps, lies about limits, odd answers."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import (
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256,
    SecurityPolicyNone,
)

from edge_agent.errors import DeviceUnavailableError, ExchangeError
from edge_agent.model import LossReason, Lost, ReadingBatch
from edge_agent.testing.fakes import FakeClock, FakeContext
from edge_agent_opcua.conditions import Conditions
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.connection import _weakness, open_connection
from edge_agent_opcua.plan import addresses, reads, subscriptions
from edge_agent_opcua.resumption import Past
from edge_agent_opcua.session import OpcUaSession
from tests.servers.opcua.fake_services import SUBSCRIPTION, FakeServer

OTHER_SUBSCRIPTION = 8


class CrossedError(asyncio.CancelledError):
    """What the library raises on Python 3.11 when an answer and a cancellation come together."""


def config(count: int = 3, **keys: Any) -> OpcUaDevice:
    points = [{"name": f"p{i}", "node": f"i={i}"} for i in range(count)]
    written = {"id": "cnc", "driver": "opcua", "url": "opc.tcp://cnc", "points": points}
    return OpcUaDevice.model_validate(written | keys)


async def prepared(
    server: FakeServer, device: OpcUaDevice, clock: FakeClock | None = None, past: Past | None = None
) -> OpcUaSession:
    session = OpcUaSession(
        device, addresses(device), Conditions({}, {}), past or Past(), clock or FakeClock(), server
    )
    await session.prepare(subscriptions(device))
    return session


def change(sequence: int, *values: tuple[int, int], subscription: int = SUBSCRIPTION) -> Any:
    changed = [
        ua.MonitoredItemNotification(handle, ua.DataValue(ua.Variant(value, ua.VariantType.Int32)))
        for handle, value in values
    ]
    return subscription, sequence, [ua.DataChangeNotification(MonitoredItems=changed)]


def keep_alive(sequence: int) -> Any:
    return SUBSCRIPTION, sequence, None


async def run(server: FakeServer, session: OpcUaSession, lost: list[Lost] | None = None) -> tuple[list[int], str]:
    """Run until the session is lost; return the values that arrived, and why it was lost."""
    got: list[int] = []
    told = [] if lost is None else lost

    async def emit(batch: ReadingBatch) -> None:
        told.extend(batch.lost)
        got.extend(value for column in batch.columns for value in column.values or ())  # type: ignore[misc]

    # After what the test sends: a server that has forgotten the subscription.
    server.notifications.append(change(0, subscription=OTHER_SUBSCRIPTION))
    with pytest.raises(DeviceUnavailableError) as ended:
        await session.run(emit)
    return got, str(ended.value)


async def test_notifications_are_acknowledged_and_keep_alives_are_not() -> None:
    server = FakeServer()
    session = await prepared(server, config())
    server.notifications = [keep_alive(1), change(1, (0, 10)), change(2, (1, 11), (0, 12)), keep_alive(3)]
    got, why = await run(server, session)
    assert got == [10, 11, 12]
    assert server.acknowledged == [[], [], [1], [2], []]
    assert "has lost the subscription" in why


async def test_a_missing_notification_ends_the_session_so_that_every_point_is_read_anew() -> None:
    server = FakeServer()
    session = await prepared(server, config())
    server.notifications = [change(1, (0, 10)), change(4, (0, 13))]
    got, why = await run(server, session)
    assert got == [10]
    assert "2 notifications before 4 are missing" in why


async def test_a_keep_alive_tells_that_the_last_notification_never_came() -> None:
    server = FakeServer()
    session = await prepared(server, config())
    server.notifications = [change(1, (0, 10)), keep_alive(3)]
    _, why = await run(server, session)
    assert "1 notifications before 3 are missing" in why


async def test_a_subscription_that_the_server_ends_is_a_loss_with_its_reason() -> None:
    server = FakeServer()
    session = await prepared(server, config())
    ended = ua.StatusChangeNotification(Status=ua.StatusCode(ua.StatusCodes.BadTimeout))
    server.notifications = [(SUBSCRIPTION, 1, [ended])]
    _, why = await run(server, session)
    assert "has ended the subscription: BadTimeout" in why


async def test_readings_that_nobody_asked_for_are_dropped() -> None:
    server = FakeServer()
    session = await prepared(server, config(2))
    server.notifications = [change(1, (0, 10), (2, 66), (70_000, 66))]
    got, _ = await run(server, session)
    assert got == [10]


async def test_points_that_the_server_will_never_report_are_named_as_refused() -> None:
    codes = ua.StatusCodes
    server = FakeServer()
    server.item_codes = {0: codes.BadNodeIdUnknown, 1: codes.BadOutOfMemory}
    denied = ua.MonitoredItemNotification(3, ua.DataValue(None, ua.StatusCode(codes.BadUserAccessDenied)))
    waiting = ua.MonitoredItemNotification(4, ua.DataValue(None, ua.StatusCode(codes.BadWaitingForInitialData)))
    data = [ua.DataChangeNotification(MonitoredItems=[denied, waiting])]
    server.notifications = [(SUBSCRIPTION, 1, data), change(2, (4, 5)), change(3, subscription=OTHER_SUBSCRIPTION)]
    points = [{"name": f"p{i}", "node": f"i={i}"} for i in range(5)]
    points[2]["node"] = "nsu=http://mistyped.example;s=x"
    session = await prepared(server, config(points=points))
    batches: list[ReadingBatch] = []

    async def emit(batch: ReadingBatch) -> None:
        batches.append(batch)

    with pytest.raises(DeviceUnavailableError):
        await session.run(emit)
    assert [set(batch.refused) for batch in batches] == [{0, 2}, {3}, set()]
    assert [len(batch) for batch in batches] == [3, 2, 1]


async def test_peer_defect_02_a_limit_that_the_server_does_not_announce_is_learned() -> None:
    server = FakeServer()
    server.largest_read = 30
    device = config(100, mode="poll")
    session = await prepared(server, device)
    (request,) = reads(addresses(device), range(100), frozenset())
    for _ in range(2):
        (column,) = (await session.read(request)).columns
        assert list(column.points) == list(column.values or ()) == list(range(100))
    assert server.read_sizes == [100, 50, 25, 25, 25, 25, 25, 25, 25, 25]


async def test_an_answer_that_is_too_short_is_void_as_a_whole() -> None:
    server = FakeServer()
    server.answers_missing = 1
    device = config(3, mode="poll")
    session = await prepared(server, device)
    with pytest.raises(ExchangeError, match="answered 2 of 3 operations"):
        await session.read(reads(addresses(device), range(3), frozenset())[0])


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (ua.StatusCodes.BadSessionIdInvalid, DeviceUnavailableError),
        (ua.StatusCodes.BadSecureChannelIdInvalid, DeviceUnavailableError),
        (ua.StatusCodes.BadInternalError, ExchangeError),
        (ua.StatusCodes.BadTooManyOperations, ExchangeError),  # even for a single one
    ],
)
async def test_the_servers_fault_says_whether_the_session_goes_on(code: int, error: type[Exception]) -> None:
    server = FakeServer()
    device = config(1, mode="poll")
    session = await prepared(server, device)

    async def fail(*_: object, **__: object) -> list[Any]:
        raise ua.UaStatusCodeError(code)

    server._send_request = fail  # type: ignore[method-assign]
    with pytest.raises(error, match="reading: Bad"):
        await session.read(reads(addresses(device), [0], frozenset())[0])


async def test_the_channel_is_renewed_on_the_way_to_a_request_after_three_quarters_of_its_life() -> None:
    server, clock = FakeServer(), FakeClock()
    device = config(1, mode="poll")
    session = await prepared(server, device, clock)
    (request,) = reads(addresses(device), [0], frozenset())
    await session.read(request)
    await clock.advance(0.74)
    await session.read(request)
    assert server.renewals == 0
    await clock.advance(0.02)
    await session.read(request)
    await session.read(request)
    assert server.renewals == 1
    await clock.advance(0.76)
    await session.read(request)
    assert server.renewals == 2


async def test_a_cancellation_that_crosses_an_answer_is_a_time_out_like_any_other() -> None:
    server = FakeServer()
    device = config(1, mode="poll")
    session = await prepared(server, device)

    async def crossed(*_: object, **__: object) -> list[Any]:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise CrossedError from None
        return []

    server._send_request = crossed  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await session.read(reads(addresses(device), [0], frozenset())[0])


async def test_a_cancellation_that_crosses_the_connection_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def forgetful(_: Client) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)

    monkeypatch.setattr(Client, "connect_socket", forgetful)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await open_connection(config(), FakeContext(clock=FakeClock()))


async def test_a_server_that_publishes_slower_than_asked_still_shows_in_time_that_it_lives() -> None:
    server = FakeServer()
    server.interval_ms = 1000.0
    await prepared(server, config(interval="100ms", keep_alive="5s"))
    (changed,) = server.modified
    assert (changed.RequestedPublishingInterval, changed.RequestedMaxKeepAliveCount) == (1000.0, 5)


async def listened(
    server: FakeServer, session: OpcUaSession, clock: FakeClock, *steps: float
) -> list[ReadingBatch]:
    """Run on while keep-alives come, each after a step of the clock; return what was reported."""
    batches: list[ReadingBatch] = []
    steps_s = iter(steps)

    async def emit(batch: ReadingBatch) -> None:
        batches.append(batch)

    async def publish(acknowledgements: Sequence[Any]) -> Any:
        server.notifications.append(keep_alive(1))
        try:
            await clock.advance(next(steps_s))
        except StopIteration:
            raise ua.UaStatusCodeError(ua.StatusCodes.BadSessionClosed) from None
        return await FakeServer.publish(server, acknowledgements)

    server.publish = publish  # type: ignore[method-assign]
    with pytest.raises(DeviceUnavailableError):
        await session.run(emit)
    return batches


async def test_a_bad_node_is_asked_for_again_after_30_minutes_and_another_failure_after_30_seconds() -> None:
    codes = ua.StatusCodes
    server, clock = FakeServer(), FakeClock()
    server.item_codes = {0: codes.BadNodeIdUnknown, 1: codes.BadOutOfMemory}
    session = await prepared(server, config(3, keep_alive="1h"), clock)
    server.asked.clear()
    batches = await listened(server, session, clock, 29, 2, 58, 3, 1700, 9, 1000)
    handles = [params.ClientHandle for params in server.asked]
    assert handles == [1, 1, 1, 0, 1], "after 31, 92, 1,792 s; the bad node after 1,801 s; after 2,801 s"
    assert [len(batch) for batch in batches] == [2], "a status is told once"
    assert batches[0].refused == {0}


async def test_a_namespace_that_comes_later_is_found() -> None:
    server, clock = FakeServer(), FakeClock()
    points = [{"name": "a", "node": "nsu=urn:late;i=7"}, {"name": "b", "node": "i=1"}]
    session = await prepared(server, config(points=points, keep_alive="1h"), clock)
    assert [params.ClientHandle for params in server.asked] == [1]
    server.namespaces.append("urn:late")
    await listened(server, session, clock, 1801, 1)
    assert [params.ClientHandle for params in server.asked] == [1, 0]


async def test_a_deadband_that_the_server_does_not_have_is_left_out() -> None:
    server = FakeServer()
    server.filter_code = ua.StatusCodes.BadMonitoredItemFilterUnsupported
    points = [
        {"name": "a", "node": "i=1", "server_deadband": {"percent": 1.0}},
        {"name": "b", "node": "i=2", "trigger": "timestamp"},
        {"name": "c", "node": "i=3"},
    ]
    session = await prepared(server, config(points=points))
    asked = [(params.ClientHandle, isinstance(params.Filter, ua.DataChangeFilter)) for params in server.asked]
    assert asked == [(0, True), (1, True), (2, False), (0, False), (1, False)]
    assert session.remarks == ("the server has no such deadband or trigger and reports every change: a, b",)


async def test_what_is_known_of_the_server_by_its_name_bounds_the_requests() -> None:
    server = FakeServer()
    server.product = "S7-1200"
    device = config(250, mode="poll")
    session = await prepared(server, device)
    await session.read(reads(addresses(device), range(250), frozenset())[0])
    assert server.read_sizes == [100, 100, 50]


async def test_what_the_server_keeps_to_itself_is_found_by_a_read_and_asked_for_anew() -> None:
    server, clock = FakeServer(), FakeClock()
    session = await prepared(server, config(2, mode="both", keep_alive="1h", check_interval="10min"), clock)
    server.notifications = [change(1, (0, 99), (1, 1))]  # a read gives 0 for point 0, 1 for point 1
    server.asked.clear()
    batches = await listened(server, session, clock, 1, 600, 5, 10, 600)
    read = batches[1]
    assert [list(column.points) for column in read.columns] == [[0]]
    assert [list(column.values or ()) for column in read.columns] == [[0]]
    assert ([params.ClientHandle for params in server.asked], server.deleted) == ([0], [100])
    assert server.read_sizes == [2, 1, 2]
    assert len(batches) == 2


async def test_what_the_server_lost_is_told_with_points_times_and_the_least_that_is_missing() -> None:
    server, clock, past = FakeServer(), FakeClock(), Past()
    session = await prepared(server, config(3), clock, past)
    begun_ns = clock.now_ns()
    overflown = ua.DataValue(ua.Variant(12, ua.VariantType.Int32), ua.StatusCode(0x480))
    data = [
        ua.DataChangeNotification(
            MonitoredItems=[
                ua.MonitoredItemNotification(0, overflown),
                ua.MonitoredItemNotification(1, ua.DataValue(ua.Variant(5, ua.VariantType.Int32))),
            ]
        )
    ]
    lost: list[Lost] = []
    server.notifications = [(SUBSCRIPTION, 1, data), change(4, (0, 13))]
    await run(server, session, lost)
    now_ns = clock.now_ns()
    assert lost == [
        Lost((0,), begun_ns, now_ns, LossReason.OVERFLOW, 1),
        Lost((0, 1, 2), now_ns, now_ns, LossReason.MISSED, 2),
    ]
    assert past.heard_ns == now_ns


async def test_an_outage_is_told_once_by_the_session_that_ends_it() -> None:
    clock, past = FakeClock(), Past()
    begun_ns = clock.now_ns()
    told: list[list[Lost]] = []
    for _ in range(3):
        server, lost = FakeServer(), list[Lost]()
        session = await prepared(server, config(2), clock, past)
        await run(server, session, lost)
        told.append(lost)
        await clock.advance(60)
    minute_ns = 60_000_000_000
    assert told == [
        [],
        [Lost((0, 1), begun_ns, begun_ns + minute_ns, LossReason.OUTAGE)],
        [Lost((0, 1), begun_ns + minute_ns, begun_ns + 2 * minute_ns, LossReason.OUTAGE)],
    ]


def test_of_the_ways_that_a_server_takes_a_password_the_safest_is_taken() -> None:
    none, weak, safe = (SecurityPolicyNone.URI, SecurityPolicyBasic256.URI, SecurityPolicyAes256Sha256RsaPss.URI)
    offered = [ua.UserTokenPolicy(PolicyId=uri, SecurityPolicyUri=uri) for uri in (none, weak, "", safe)]

    def order(channel: str) -> list[str]:
        return [str(one.SecurityPolicyUri) for one in sorted(offered, key=partial(_weakness, channel))]

    assert order(safe) == ["", safe, weak, none]
    assert order(none) == [safe, weak, none, ""]


@pytest.mark.parametrize(
    ("behind_s", "told"),
    [(0, ()), (1, ()), (3600, ("the server's clock is about 1 h behind ours; its readings carry its times",))],
)
async def test_a_server_whose_clock_is_wrong_is_told(behind_s: int, told: tuple[str, ...]) -> None:
    server, clock = FakeServer(), FakeClock()
    server.now = datetime.fromtimestamp(clock.now_ns() / 1e9 - behind_s, UTC)
    session = await prepared(server, config(), clock)
    assert tuple(session.remarks) == told
