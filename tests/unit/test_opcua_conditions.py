"""What a refresh tells: what is new, what has ended, and nothing twice."""

from typing import Any

from edge_agent_opcua.conditions import MAX_KEPT_CHARS, Conditions
from edge_agent_opcua.event import Event, Wanted

POINT = 3


def conditions(state: dict[str, str] | None = None, **wanted: Any) -> Conditions:
    return Conditions({} if state is None else state, {POINT: ("alarms i=2253", Wanted(**wanted))})


def event(condition: str = "ns=1;s=Door", **fields: Any) -> Event:
    told = {"condition_id": condition, "severity": 500, "active": True, "retain": True, "time": "T", **fields}
    return Event(None, None, {key: content for key, content in told.items() if content is not None})


def refreshed(known: Conditions, *events: Event) -> tuple[list[bool], list[dict[str, Any]]]:
    """Return which of the events are told, and what is over."""
    known.begin(POINT)
    told = [known.take(POINT, "AlarmType", each) for each in events]
    over = [dict(each) for each in known.end(POINT)]
    known.keep()
    return told, over


def test_a_refresh_tells_what_was_not_told_as_it_stands() -> None:
    known = conditions()
    assert refreshed(known, event(), event("b")) == ([True, True], [])
    assert refreshed(known, event(event_id="ff"), event("b")) == ([False, False], [])
    assert refreshed(known, event(acked=True), event("b")) == ([True, False], [])
    assert known.retained(POINT) == 2


def test_outside_of_a_refresh_the_same_is_told_again() -> None:
    known = conditions()
    assert [known.take(POINT, "AlarmType", event()) for _ in range(2)] == [True, True]


def test_what_a_refresh_lacks_is_over_once() -> None:
    known = conditions()
    refreshed(known, event(), event("b", active=None))
    told, over = refreshed(known)
    assert over == [
        {
            "event_type": "AlarmType",
            "condition_id": "ns=1;s=Door",
            "severity": 500,
            "active": False,
            "retain": False,
        },
        {"event_type": "AlarmType", "condition_id": "b", "severity": 500, "retain": False},
    ]
    assert (told, refreshed(known), known.retained(POINT)) == ([], ([], []), 0)


def test_what_is_retained_no_longer_is_forgotten() -> None:
    known = conditions()
    refreshed(known, event())
    assert known.take(POINT, "AlarmType", event(active=False, retain=False))
    assert refreshed(known) == ([], [])


def test_branches_of_a_condition_are_told_apart() -> None:
    known = conditions()
    refreshed(known, event(), event(branch="ns=1;s=1"))
    _, over = refreshed(known, event())
    assert [each["branch"] for each in over] == ["ns=1;s=1"]


def test_a_condition_without_an_id_goes_by_its_source_and_name() -> None:
    known = conditions()
    door = {"source_node": "i=1", "condition": "Door"}
    refreshed(known, Event(None, None, door), Event(None, None, {**door, "source_node": "i=2"}))
    assert known.retained(POINT) == 2


def test_a_refresh_that_was_cut_off_ends_nothing() -> None:
    for cut_off in (Conditions.lost, lambda known: known.abandon(POINT)):
        known = conditions()
        refreshed(known, event())
        known.begin(POINT)
        cut_off(known)
        assert known.end(POINT) == ()
        assert known.retained(POINT) == 1


def test_what_did_not_get_anywhere_is_told_by_the_next_refresh() -> None:
    state: dict[str, str] = {}
    known = conditions(state)
    refreshed(known, event("kept"), event("changed"))
    before = dict(state)
    assert known.take(POINT, "AlarmType", event("new"))
    assert known.take(POINT, "AlarmType", event("changed", acked=True))
    assert known.take(POINT, "AlarmType", event("kept", retain=False))
    known.undo()
    assert state == before
    told, over = refreshed(known, event("new"), event("changed", acked=True))
    assert (told, [each["condition_id"] for each in over]) == ([True, True], ["kept"])


def test_what_was_told_outlives_the_agent_as_long_as_the_point_is_the_same() -> None:
    state: dict[str, str] = {}
    refreshed(conditions(state), event(message="\ud800 主轴"))
    assert refreshed(conditions(dict(state)), event(message="\ud800 主轴")) == ([False], [])
    other = dict(state, other="stays")
    assert refreshed(conditions(other, severity_min=1), event(message="\ud800 主轴")) == ([True], [])
    assert len(other) == 2


def test_a_condition_whose_id_is_no_text_is_kept_all_the_same() -> None:
    state: dict[str, str] = {}
    refreshed(conditions(state), event("ns=1;s=\udc80"))
    ((key, text),) = state.items()
    assert (key + text).encode()
    assert refreshed(conditions(state), event("ns=1;s=\udc80")) == ([False], [])


def test_what_is_kept_is_bounded() -> None:
    state: dict[str, str] = {}
    known = conditions(state)
    many = [event(f"s={i}", message="x" * 1000) for i in range(300)]
    refreshed(known, *many)
    assert 100 < len(state) < 300
    assert sum(len(key) + len(text) for key, text in state.items()) <= MAX_KEPT_CHARS
    assert refreshed(known, *many) == ([False] * 300, [])
    again, over = refreshed(conditions(state), *many)
    assert (again.count(False), over) == (len(state), [])
    for each in many:
        known.take(POINT, "AlarmType", Event(None, None, {**each.fields, "retain": False}))
    known.keep()
    assert state == {}


def test_only_what_is_wanted_is_told_and_the_end_of_what_was_told() -> None:
    known = conditions(severity_min=500, is_of_conditions=True)
    assert known.take(POINT, "AlarmType", event())
    assert known.take(POINT, "AlarmType", event(severity=1, retain=False))
    assert not known.take(POINT, "AlarmType", event(severity=1, retain=False))
    assert not known.take(POINT, "AlarmType", event("b", severity=499))
    assert not known.take(POINT, "EventType", Event(None, None, {"severity": 900}))
    assert known.take(POINT, "AlarmType", event("c", severity=None))
    assert conditions(severity_min=500).take(POINT, "EventType", Event(None, None, {"severity": 500}))
    assert not conditions(severity_min=500).take(POINT, "EventType", Event(None, None, {"severity": 499}))
