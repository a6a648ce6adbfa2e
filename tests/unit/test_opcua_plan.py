from typing import Any

import pytest

from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.plan import (
    Item,
    Publishing,
    addresses,
    checked_points,
    following,
    missed,
    polled_points,
    reads,
    reported_points,
    samples_per_s,
    session_timeout_s,
    subscriptions,
)
from edge_agent_opcua.point import Discard, ServerDeadband, Trigger


def device(points: list[dict[str, Any]], **keys: Any) -> OpcUaDevice:
    written = [{"name": f"p{i}", "node": f"ns=2;i={i}"} | point for i, point in enumerate(points)]
    return OpcUaDevice.model_validate(
        {"id": "cnc", "driver": "opcua", "url": "opc.tcp://cnc", "points": written} | keys
    )


def items(config: OpcUaDevice) -> list[Item]:
    return [item for publishing in subscriptions(config) for item in publishing.items]


def publishing(config: OpcUaDevice) -> Publishing:
    (only,) = subscriptions(config)
    return only


def test_each_point_is_polled_or_reported() -> None:
    config = device([{}, {"mode": "poll"}, {"mode": "subscribe"}, {"mode": "both"}])
    assert reported_points(config) == (0, 2, 3)
    assert polled_points(config) == (1,)
    assert checked_points(config) == (3,)
    assert polled_points(device([{}], mode="poll")) == (0,)
    assert checked_points(device([{}], mode="both")) == (0,)


def test_points_that_are_published_at_different_intervals_have_subscriptions_of_their_own() -> None:
    config = device(
        [{}, {"publishing_interval": "5s"}, {"publishing_interval": "100ms"}, {"mode": "poll"}, {}],
        publishing_interval="1s",
    )
    wanted = subscriptions(config)
    assert [one.interval_s for one in wanted] == [0.1, 1.0, 5.0]
    assert [[item.point for item in one.items] for one in wanted] == [[2], [0, 4], [1]]
    assert [one.keep_alive_count for one in wanted] == [50, 5, 1]


def test_a_point_says_what_is_a_change_and_what_is_discarded_or_else_the_device() -> None:
    points = [{}, {"discard": "oldest", "trigger": "status", "queue_size": 3, "server_deadband": {"percent": 2.0}}]
    config = device(points, discard="newest", trigger="timestamp", queue_size=7)
    first, second = items(config)
    assert (first.discard, first.trigger, first.queue_size) == (Discard.NEWEST, Trigger.TIMESTAMP, 7)
    assert (second.discard, second.trigger, second.queue_size) == (Discard.OLDEST, Trigger.STATUS, 3)
    assert second.deadband == ServerDeadband(percent=2.0)
    assert [first.is_filtered, second.is_filtered] == [True, True]
    assert not items(device([{}]))[0].is_filtered


def test_the_samples_that_a_server_is_asked_for_are_reckoned() -> None:
    config = device([{"sampling_interval": "100ms"}, {"interval": "500ms"}, {"mode": "poll"}])
    assert samples_per_s(subscriptions(config)) == 12.0


def test_the_nearest_sampling_interval_holds() -> None:
    config = device(
        [
            {},
            {"interval": "200ms"},
            {"interval": "200ms", "sampling_interval": "10ms"},
            {"sampling_interval": "0s"},
        ],
        sampling_interval="500ms",
    )
    assert [item.sampling_s for item in items(config)] == [0.5, 0.2, 0.01, 0.0]
    assert items(device([{}], interval="2s"))[0].sampling_s == 2.0


def test_the_queue_holds_twice_what_is_sampled_between_two_publications() -> None:
    config = device([{"sampling_interval": "10ms"}, {}, {"sampling_interval": "0s"}], publishing_interval="1s")
    assert [item.queue_size for item in items(config)] == [200, 2, 200]
    assert items(device([{}], queue_size=7))[0].queue_size == 7


def test_keep_alives_come_as_often_as_configured_whatever_the_publishing_interval() -> None:
    fast = publishing(device([{}], interval="100ms"))
    assert (fast.interval_s, fast.keep_alive_count) == (0.1, 50)
    slow = publishing(device([{}], interval="20s"))
    assert (slow.interval_s, slow.keep_alive_count) == (20.0, 1)


def test_the_subscription_lives_three_keep_alives_and_as_long_as_the_session() -> None:
    assert publishing(device([{}], interval="100ms")).lifetime_count == 600
    assert publishing(device([{}], keep_alive="1min")).lifetime_count == 180


def test_a_session_outlives_the_slowest_poll() -> None:
    assert session_timeout_s(device([{}], interval="10min")) == 60.0
    assert session_timeout_s(device([{"mode": "poll", "interval": "10min"}])) == 1800.0


def test_a_request_prints_what_it_reads() -> None:
    config = device([{}, {}], mode="poll")
    requests = reads(addresses(config), [0, 1], frozenset())
    assert list(map(str, requests)) == ["Read 2 values: ns=2;i=0 … ns=2;i=1"]
    assert list(map(str, reads(addresses(config), [1], frozenset()))) == ["Read 1 values: ns=2;i=1"]


@pytest.mark.parametrize(
    ("expected", "sequence", "is_keep_alive", "lost"),
    [
        (None, 5, False, 0),
        (5, 5, False, 0),
        (5, 5, True, 0),  # a keep-alive names the next one
        (5, 8, False, 3),
        (5, 6, True, 1),  # … so this one tells that 5 never came
        (5, 4, True, 0),  # some servers repeat the last one
        (5, 5000, False, 4995),
        (5, 4, False, 1),
        (1, 1, False, 0),
    ],
)
def test_missing_notifications_are_counted(
    expected: int | None, sequence: int, is_keep_alive: bool, lost: int
) -> None:
    assert missed(expected, sequence, is_keep_alive=is_keep_alive) == lost


def test_sequence_numbers_skip_zero_when_they_wrap() -> None:
    assert following(41) == 42
    assert following(0xFFFF_FFFF) == 1
