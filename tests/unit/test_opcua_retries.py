from edge_agent.model import Quality
from edge_agent_opcua.retries import Retries

UNKNOWN = Quality.BAD_NODE_ID_UNKNOWN
TOO_MANY = 0x80DB_0000  # BadTooManyMonitoredItems


def test_a_bad_node_is_left_alone_for_long_and_what_may_pass_later_each_time() -> None:
    retries = Retries(bad_node_s=100, transient_s=30)
    retries.failed(1, UNKNOWN, 0)
    retries.failed(2, TOO_MANY, 0)
    assert retries.due(29) == []
    assert retries.due(30) == [2]
    retries.failed(2, TOO_MANY, 30)
    assert retries.due(89) == []
    assert retries.due(90) == [2]
    retries.failed(2, TOO_MANY, 90)
    assert retries.due(100) == [1]
    assert retries.due(189) == [1]
    assert retries.due(190) == [1, 2]  # not 120 s, the longest pause is that of a bad node


def test_a_status_is_news_once() -> None:
    retries = Retries(100, 30)
    assert retries.failed(1, TOO_MANY, 0)
    assert not retries.failed(1, TOO_MANY, 30)
    assert retries.failed(1, UNKNOWN, 90)
    assert retries.statuses == {1: UNKNOWN}


def test_a_point_that_becomes_a_transient_failure_starts_with_the_short_pause() -> None:
    retries = Retries(100, 30)
    retries.failed(1, UNKNOWN, 0)
    retries.failed(1, TOO_MANY, 100)
    assert retries.due(130) == [1]


def test_what_is_reported_is_forgotten() -> None:
    retries = Retries(100, 30)
    retries.failed(1, UNKNOWN, 0)
    retries.passed(1)
    retries.passed(2)
    assert (len(retries), 1 in retries, retries.due(1e9)) == (0, False, [])
