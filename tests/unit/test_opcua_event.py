"""From the fields of an event to the text of a reading."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_agent.model import ReadingClass
from edge_agent_opcua.config import Mode, OpcUaDevice
from edge_agent_opcua.event import (
    CONDITION,
    FIELDS,
    QUEUE_OVERFLOW,
    REFRESH_END,
    REFRESH_REQUIRED,
    REFRESH_START,
    TYPES,
    Wanted,
    decode,
    parse_event_field,
    parse_event_type,
    to_text,
)
from edge_agent_opcua.event_filter import event_filter
from edge_agent_opcua.node_id import NodeAddress
from edge_agent_opcua.plan import EVENT_QUEUE, polled_points, subscriptions

NAMESPACES = ["http://opcfoundation.org/UA/", "urn:server", "http://example.com/cnc"]
VALUES = {
    "event_type": ua.NodeId(1002, 2),
    "event_id": b"\x01\xff",
    "time": datetime(2026, 11, 23, 8, 5, 6, 7, UTC),
    "source_name": "Spindle",
    "source_node": ua.NodeId("Spindle", 2),
    "severity": 700,
    "message": ua.LocalizedText("主轴", "zh"),
    "branch": ua.NodeId(),
    "active": True,
}


def variants(values: dict[str, Any]) -> list[Any]:
    return [ua.Variant(values.get(field.key)) for field in FIELDS]


def test_the_numbers_of_the_standard_are_the_librarys() -> None:
    for name, number in TYPES.items():
        assert getattr(ua.ObjectIds, name) == number
    assert (ua.ObjectIds.ConditionType, ua.ObjectIds.EventQueueOverflowEventType) == (CONDITION, QUEUE_OVERFLOW)
    assert ua.ObjectIds.RefreshStartEventType == REFRESH_START
    assert ua.ObjectIds.RefreshEndEventType == REFRESH_END
    assert ua.ObjectIds.RefreshRequiredEventType == REFRESH_REQUIRED


def test_what_the_server_told_is_in_the_text_and_nothing_else() -> None:
    event = decode(variants(VALUES), NAMESPACES)
    assert (event.type_id, event.standard_type) == (ua.NodeId(1002, 2), 0)
    assert event.time_ns == 1_795_421_106_000_007_000
    assert to_text("SpindleAlarmType", event.fields) == (
        '{"event_type":"SpindleAlarmType","event_id":"01ff","time":"2026-11-23T08:05:06.000007Z",'
        '"source_name":"Spindle","source_node":"nsu=http://example.com/cnc;s=Spindle","severity":700,'
        '"message":"主轴","active":true}'
    )


def test_when_the_server_came_to_know_of_it_is_a_time_and_not_in_the_text() -> None:
    received = VALUES["time"] + timedelta(hours=3)
    event = decode(variants(VALUES | {"ReceiveTime": received}), NAMESPACES)
    assert event.received_ns == 1_795_421_106_000_007_000 + 3 * 3600 * 10**9
    assert event.fields == decode(variants(VALUES), NAMESPACES).fields


@pytest.mark.parametrize(
    "content",
    [
        None,
        [1, 2],
        float("nan"),
        float("inf"),
        datetime(1601, 1, 1, tzinfo=UTC),
        "",
        b"",
        ua.LocalizedText(),
        ua.QualifiedName("", 0),
        object(),
    ],
)
def test_what_makes_no_sense_counts_as_not_told(content: Any) -> None:
    told = [ua.Variant("x"), *[type("Variant", (), {"Value": content})] * (len(FIELDS) - 1)]
    event = decode(told, NAMESPACES)
    assert (event.type_id, event.time_ns, event.received_ns) == (None, None, None)
    assert not [value for value in event.fields.values() if value]


def test_a_server_that_sends_fewer_or_more_fields_is_read_as_far_as_it_goes() -> None:
    assert decode([], NAMESPACES).fields == {}
    assert decode([*variants(VALUES), ua.Variant(1)], NAMESPACES) == decode(variants(VALUES), NAMESPACES)


@given(st.text(st.characters()))
def test_any_text_becomes_json_that_can_be_sent(message: str) -> None:
    text = to_text("T", {"message": message})
    assert json.loads(text.encode().decode()) == {"event_type": "T", "message": message}


def test_types_are_written_by_name_or_node_id() -> None:
    assert parse_event_type("AlarmConditionType") == NodeAddress(2915)
    assert parse_event_type("nsu=urn:x;i=5") == NodeAddress(5, "urn:x")
    with pytest.raises(ValueError, match="no type of events; write a node id, or one of BaseEventType, "):
        parse_event_type("AlarmType")


@pytest.mark.parametrize("count", range(5))
def test_a_filter_has_any_of_the_types_and_each_element_names_later_ones(count: int) -> None:
    types = [ua.NodeId(number, 2) for number in range(1, count + 1)]

    def find(address: NodeAddress) -> Any:
        return ua.NodeId(address.identifier, 2)

    made = event_filter(Wanted(types=tuple(map(NodeAddress, range(1, count + 1)))), find)
    elements = made.WhereClause.Elements

    def named(position: int) -> list[Any]:
        element = elements[position]
        if element.FilterOperator is ua.FilterOperator.OfType:
            return [element.FilterOperands[0].Value.Value]
        assert element.FilterOperator is ua.FilterOperator.Or
        assert all(operand.Index > position for operand in element.FilterOperands)
        return [each for operand in element.FilterOperands for each in named(operand.Index)]

    assert (named(0) if elements else []) == types
    assert len(made.SelectClauses) == len(FIELDS)


def test_more_fields_are_asked_for_by_namespace_and_path_and_told_after_the_others() -> None:
    more = (parse_event_field("code", "nsu=urn:a/b%3Bx;Error/Code"), parse_event_field("list", "List"))
    assert (more[0].path, more[0].namespace) == (("Error", "Code"), NodeAddress(0, "urn:a/b;x"))
    made = event_filter(Wanted(more=more), lambda address: None if address.namespace_uri else ua.NodeId(0, 0))
    names = [(path.Name, path.NamespaceIndex) for path in made.SelectClauses[-2].BrowsePath]
    assert names == [("Error", 0x7FFF), ("Code", 0x7FFF)]
    event = decode([*variants(VALUES), ua.Variant(7), ua.Variant([1, float("nan")])], NAMESPACES, more)
    assert (event.fields["code"], event.fields["list"]) == (7, [1, None])
    assert "list" not in decode(variants(VALUES), NAMESPACES, more).fields


def config(*table: dict[str, Any], **keys: Any) -> OpcUaDevice:
    named = [{"name": f"p{i}", "node": "i=2253", **keys_of} for i, keys_of in enumerate(table)]
    return OpcUaDevice.model_validate(
        {"id": "cnc", "driver": "opcua", "url": "opc.tcp://cnc", "points": named, **keys}
    )


def test_events_are_subscribed_to_and_have_a_class_and_a_queue_of_their_own() -> None:
    device = config(
        {"events": "alarms"},
        {"events": "all", "class": "alarm", "severity_min": 500, "event_types": ["AlarmConditionType"]},
        {"events": "all", "queue_size": 7},
        {},
        mode="poll",
    )
    assert [point.reading_class for point in device.points] == [
        ReadingClass.ALARM,
        ReadingClass.ALARM,
        ReadingClass.EVENT,
        ReadingClass.TREND,
    ]
    assert device.points[0].mode is Mode.SUBSCRIBE
    assert polled_points(device) == (3,)
    (publishing,) = subscriptions(device)
    assert [(item.queue_size, item.events) for item in publishing.items] == [
        (EVENT_QUEUE, Wanted(is_of_conditions=True)),
        (EVENT_QUEUE, Wanted(severity_min=500, types=(NodeAddress(2915),))),
        (7, Wanted()),
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"events": "some"}, "'all' or 'alarms'"),
        ({"severity_min": 5}, "severity_min has no meaning without `events:`"),
        (
            {"events": "all", "deadband": {"absolute": 1.0}},
            "deadband has no meaning of events: all of them arrive",
        ),
        ({"events": "all", "interval": "1s"}, "interval has no meaning of events"),
        ({"events": "all", "mode": "poll"}, "events can only be subscribed to"),
        ({"events": "all", "event_types": ["Alarm"]}, "'Alarm' is no type of events"),
        ({"events": "all", "event_fields": {"Code": "Code"}}, "'Code' is no key for a field"),
        ({"events": "all", "event_fields": {"severity": "Code"}}, "'severity' is a field that is there anyway"),
        ({"events": "all", "event_fields": {"code": "nsu=urn:x;"}}, "is no field of an event"),
        ({"events": "all", "event_fields": {"code": "urn:x;Code"}}, "is not a node id"),
        ({"event_fields": {"code": "Code"}}, "event_fields has no meaning without `events:`"),
        ({"events": "all", "severity_min": 1001}, "less than or equal to 1000"),
    ],
)
def test_keys_that_mean_nothing_are_refused(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config(keys)
