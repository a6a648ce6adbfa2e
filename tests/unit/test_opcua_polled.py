from edge_agent_opcua.polled import Polled


def test_each_point_is_due_at_its_interval_without_drift_and_misses_are_not_made_up() -> None:
    polled = Polled()
    polled.add(2, 1.0, 10.0)
    polled.add(1, 3.0, 10.0)
    assert polled.due(10.0) == [1, 2]
    assert polled.due(10.9) == []
    assert polled.next_s == 11.0
    assert polled.due(11.2) == [2]
    assert polled.next_s == 12.0
    assert polled.due(15.5) == [1, 2]
    assert polled.next_s == 16.0


def test_a_point_that_is_added_again_keeps_its_turn_and_one_that_is_removed_has_none() -> None:
    polled = Polled()
    polled.add(1, 1.0, 10.0)
    assert polled.due(10.0) == [1]
    polled.add(1, 1.0, 10.5)
    assert polled.next_s == 11.0
    polled.remove(1)
    polled.remove(1)
    assert len(polled) == 0
    assert polled.due(20.0) == []
