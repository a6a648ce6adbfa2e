"""Events, alarms and conditions of a server that is neither Python nor by the client library's authors."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua

from edge_agent.clock import SystemClock
from edge_agent.collect.supervisor import DeviceSupervisor
from edge_agent.config import load
from edge_agent.current import DeviceCurrent, DevicePhase
from edge_agent.driver import Device
from edge_agent.errors import DeviceUnavailableError
from edge_agent.metrics import Metrics
from edge_agent.model import LossReason, Lost, PointTable, Quality, ReadingBatch, ReadingClass
from edge_agent.registry import Registry
from edge_agent.testing.conformance import check_device
from edge_agent.testing.eventually import eventually
from edge_agent.testing.fakes import FakeContext
from edge_agent.writing import WriteOutcome
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.decode import OVERFLOW
from edge_agent_opcua.methods import OpcUaCaller
from edge_agent_opcua.session import OpcUaSession
from tests.servers.opcua.open_asyncua import open_asyncua
from tests.servers.opcua.reading import Collected, Reading, make_device, points, reporting
from tests.servers.opcua_server import NAMESPACE, OpcUaServer, opcua_server

ACKNOWLEDGE = "i=9111"  # of AcknowledgeableConditionType
SERVER = "i=2253"
MACHINE = f"nsu={NAMESPACE};s=Machine"
ALARMS = {"name": "alarms", "node": SERVER, "events": "alarms"}
LOG = {"name": "log", "node": SERVER, "events": "all"}


@pytest.fixture
def server() -> Iterator[OpcUaServer]:
    with opcua_server(floats=3) as running:
        yield running


def told(collected: Collected, point: str = "alarms") -> list[dict[str, Any]]:
    """Return the events that came so far, without those that say that nothing is missing."""
    return [event for event in everything(collected, point) if event["event_type"] != "InSync"]


def everything(collected: Collected, point: str = "alarms") -> list[dict[str, Any]]:
    return [json.loads(reading.value) for name, reading in collected.all if name == point]


async def in_sync(collected: Collected, point: str = "alarms", times: int = 1) -> None:
    await eventually(
        lambda: sum(event["event_type"] == "InSync" for event in everything(collected, point)) >= times,
        what=f"{point} in sync",
    )


def states(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    keys = ("condition", "severity", "message", "active", "acked", "retain")
    return [tuple(event.get(key) for key in keys) for event in events]


def device_of(server: OpcUaServer, *table: dict[str, Any], **keys: Any) -> tuple[Device, OpcUaDevice]:
    return make_device(server.url, table or (ALARMS,), **keys)


async def test_an_alarm_is_told_from_its_beginning_to_its_end(server: OpcUaServer) -> None:
    device, config = device_of(server)
    async with reporting(device, config) as collected:
        await in_sync(collected)
        server.order("raise", alarm="Spindle", severity=700, message="主轴过热")
        server.order("acknowledge", alarm="Spindle")
        server.order("end", alarm="Spindle")
        await eventually(lambda: len(told(collected)) == 3)
        first = told(collected)[0]
        reading = collected.all[1][1]
    assert states(told(collected)) == [
        ("SpindleAlarm", 700, "主轴过热", True, False, True),
        ("SpindleAlarm", 700, "主轴过热", True, True, False),
        ("SpindleAlarm", 100, "over", False, True, False),
    ]
    assert (first["event_type"], first["source_name"]) == ("SpindleAlarmType", "2:Spindle")
    assert first["condition_id"] == f"nsu={NAMESPACE};s=SpindleAlarm"
    assert first["source_node"] == f"nsu={NAMESPACE};s=Machine.Spindle"
    assert (reading.type, reading.status) == ("string", Quality.GOOD)
    assert abs(reading.time_ns - time.time_ns()) < 60e9
    assert first["time"].endswith("Z")


async def test_what_is_told_is_enough_to_acknowledge_it(server: OpcUaServer) -> None:
    device, config = device_of(server)
    async with reporting(device, config) as collected:
        server.order("raise", alarm="Spindle")
        await eventually(lambda: told(collected))
        (alarm,) = told(collected)
        assert isinstance(collected.session, OpcUaSession)
        done = await OpcUaCaller(config, collected.session).call(
            alarm["condition_id"], ACKNOWLEDGE, [bytes.fromhex(alarm["event_id"]), "seen"]
        )
        assert done.outcome is WriteOutcome.DONE
        await eventually(lambda: len(told(collected)) == 2)
    assert (told(collected)[1]["acked"], told(collected)[1]["comment"]) == (True, "seen")


async def test_what_was_active_before_the_first_connection_is_told(server: OpcUaServer) -> None:
    server.order("raise", alarm="Coolant", severity=400, message="low")
    device, config = device_of(server)
    async with reporting(device, config) as collected:
        await in_sync(collected)
    assert states(told(collected)) == [("CoolantAlarm", 400, "low", True, False, True)]
    assert everything(collected)[-1] == {"event_type": "InSync", "retained": 1}


async def test_a_new_session_tells_what_changed_meanwhile_and_nothing_twice(server: OpcUaServer) -> None:
    device, config = device_of(server)
    async with reporting(device, config) as collected:
        for alarm in ("Spindle", "Coolant"):
            server.order("raise", alarm=alarm)
        await eventually(lambda: len(told(collected)) == 2)

    async with reporting(device, config) as collected:
        await in_sync(collected)
    assert everything(collected) == [{"event_type": "InSync", "retained": 2}]

    server.order("end", alarm="Spindle")
    server.order("raise", alarm="Coolant", severity=900, message="empty")
    async with reporting(device, config) as collected:
        await in_sync(collected)
    pairs = zip(told(collected), _readings(collected), strict=True)
    by_alarm = {event["condition"]: (event, reading) for event, reading in pairs}
    coolant, spindle = by_alarm["CoolantAlarm"], by_alarm["SpindleAlarm"]
    assert (coolant[0]["message"], coolant[1].status) == ("empty", Quality.GOOD)
    assert (spindle[0]["active"], spindle[0]["retain"], spindle[1].status) == (False, False, Quality.UNCERTAIN)
    assert everything(collected)[-1] == {"event_type": "InSync", "retained": 1}


async def test_a_server_that_dies_with_an_active_alarm_and_comes_back_without_has_it_ended(
    server: OpcUaServer,
) -> None:
    device, config = device_of(server)
    with pytest.raises(ExceptionGroup) as lost:  # noqa: PT012 - the loss ends the group
        async with reporting(device, config) as collected:
            server.order("raise", alarm="Spindle", severity=700, message="hot")
            await eventually(lambda: told(collected))
            await asyncio.to_thread(server.kill)
            await asyncio.Event().wait()
    assert lost.group_contains(DeviceUnavailableError)

    await asyncio.to_thread(server.start, filler=3)  # the namespace has another index now
    async with reporting(device, config) as collected:
        await in_sync(collected)
        assert states(told(collected)) == [("SpindleAlarm", 700, "hot", False, False, False)]
        server.order("raise", alarm="Spindle", severity=500, message="again")
        await eventually(lambda: len(told(collected)) == 2)
    assert told(collected)[1]["active"]


async def test_a_restarted_agent_knows_what_it_told(server: OpcUaServer) -> None:
    context = FakeContext("cnc")
    device, config = make_device(server.url, [ALARMS], context=context)
    async with reporting(device, config) as collected:
        for alarm in ("Spindle", "Coolant"):
            server.order("raise", alarm=alarm)
        await eventually(lambda: len(told(collected)) == 2)
    server.order("end", alarm="Spindle")
    device, config = make_device(server.url, [ALARMS], context=context)
    async with reporting(device, config) as collected:
        await in_sync(collected)
    assert [(event["condition"], event["active"]) for event in told(collected)] == [("SpindleAlarm", False)]


async def test_two_equal_events_are_two_readings(server: OpcUaServer) -> None:
    device, config = device_of(server, LOG)
    async with reporting(device, config) as collected:
        for _ in range(2):
            server.order("tell", type="ToolEventType", severity=300, message="tool 5")
        await eventually(lambda: len(told(collected, "log")) == 2)
    first, second = told(collected, "log")
    assert (first["event_type"], first["message"], first["severity"]) == ("ToolEventType", "tool 5", 300)
    assert first["event_id"] != second["event_id"]
    assert "condition" not in first


async def test_only_what_is_wanted_is_told_and_the_end_of_what_was_told_always(server: OpcUaServer) -> None:
    tools = {**LOG, "name": "tools", "event_types": [f"nsu={NAMESPACE};s=ToolEventType"]}
    some = {
        **LOG,
        "name": "some",
        "event_types": ["SystemEventType", tools["event_types"][0], "nsu=urn:nobody;i=1"],
    }
    device, config = device_of(
        server,
        ALARMS,
        tools,
        some,
        {**ALARMS, "name": "severe", "severity_min": 500},
        {**LOG, "severity_min": 500},
    )
    async with reporting(device, config) as collected:
        for point in ("alarms", "tools", "some", "severe", "log"):
            await in_sync(collected, point)
        server.order("tell", type="ToolEventType", severity=499, message="tool")
        server.order("tell", type="DeviceFailureEventType", severity=500, message="device")
        server.order("raise", alarm="Coolant", severity=400, message="low")
        server.order("raise", alarm="Spindle", severity=700, message="hot")
        server.order("end", alarm="Coolant", severity=100)
        server.order("end", alarm="Spindle", severity=100)
        await eventually(lambda: len(told(collected, "alarms")) == 4)
        await eventually(lambda: len(told(collected, "log")) == 3)
    names = {point: [event["message"] for event in told(collected, point)] for point in ("tools", "some", "log")}
    assert names == {"tools": ["tool"], "some": ["tool", "device"], "log": ["device", "hot", "over"]}
    assert [event["message"] for event in told(collected)] == ["low", "hot", "over", "over"]
    assert [event["condition"] for event in told(collected, "severe")] == ["SpindleAlarm", "SpindleAlarm"]


async def test_fields_of_a_vendors_type_are_told_where_an_event_has_them(server: OpcUaServer) -> None:
    fields = {
        "tool": f"nsu={NAMESPACE};ToolNumber",
        "reasons": f"nsu={NAMESPACE};Reasons",
        "nobodys": "nsu=urn:nobody;Name",
        "receive_time": "ReceiveTime",
    }
    device, config = device_of(server, {**LOG, "event_fields": fields})
    async with reporting(device, config) as collected:
        await in_sync(collected, "log")
        server.order("tell", type="ToolEventType", tool=5, reasons=["worn", "刀具"])
        server.order("tell", type="DeviceFailureEventType")
        await eventually(lambda: len(told(collected, "log")) == 2)
    tool, other = told(collected, "log")
    assert (tool["tool"], tool["reasons"], tool["receive_time"][-1]) == (5, ["worn", "刀具"], "Z")
    assert not {"nobodys"} & tool.keys()
    assert not {"nobodys", "tool", "reasons"} & other.keys()


async def test_a_queue_that_overflowed_is_counted_and_what_is_missing_asked_for(server: OpcUaServer) -> None:
    device, config = device_of(server, LOG)
    async with reporting(device, config) as collected:
        await in_sync(collected, "log")
        server.order("tell", type="EventQueueOverflowEventType")
        await in_sync(collected, "log", times=2)
        assert isinstance(collected.session, OpcUaSession)
        assert collected.session.overflows == 1
    overflow = [reading for _, reading in collected.all if "EventQueueOverflowEventType" in reading.value]
    assert [reading.status for reading in overflow] == [OVERFLOW]
    lost = [each for batch in collected.batches for each in batch.lost]
    assert [(each.points, each.reason, each.readings) for each in lost] == [((0,), LossReason.OVERFLOW, 1)]
    assert 0 < lost[0].t_last_ns - lost[0].t_first_ns < 10e9


async def test_a_queue_that_was_full_counts_as_a_loss_where_the_server_does_not_tell_of_one(
    server: OpcUaServer,
) -> None:
    """node-opcua 2.186 keeps 100 events at the least, and raises no EventQueueOverflowEventType by itself."""
    device, config = device_of(server, LOG | {"queue_size": 100}, publishing_interval="500ms")
    async with reporting(device, config) as collected:
        await in_sync(collected, "log")
        for number in range(300):
            server.order("tell", type="ToolEventType", message=str(number))
        await eventually(lambda: told(collected, "log")[-1:] and told(collected, "log")[-1]["message"] == "299")
        await in_sync(collected, "log", times=2)
    assert len(told(collected, "log")) < 300
    assert {(each.points, each.reason, each.readings) for each in collected.lost} == {
        ((0,), LossReason.OVERFLOW, 0)
    }
    assert 0 < collected.lost[0].t_last_ns - collected.lost[0].t_first_ns < 10e9


async def test_events_flow_beside_data_and_cost_no_other_point(server: OpcUaServer) -> None:
    table = [
        *points(["Counter", "Program"]),
        *points(["Feed"], mode="poll"),
        ALARMS,
        {"name": "machine", "node": MACHINE, "events": "alarms"},
        {"name": "nowhere", "node": "i=99999", "events": "all"},
    ]
    device, config = device_of(server, *table)
    async with reporting(device, config) as collected:
        await in_sync(collected)
        server.order("raise", alarm="Spindle")
        await eventually(lambda: told(collected) and told(collected, "machine"))
        got = await collected.all_of(5)
    assert got["nowhere"].status == Quality.BAD_NODE_ID_UNKNOWN
    assert (got["Program"].value, got["Counter"].status) == ("O1234 齿轮", Quality.GOOD)


@pytest.mark.slow
async def test_under_the_supervisor_a_loss_is_told_once_and_the_alarm_that_it_cost_has_an_end(
    server: OpcUaServer, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(
        "gateway: {id: gw-01}\noutbox: {directory: state}\npublishers: []\ndevices:\n"
        f"  - {{id: cnc, driver: opcua, url: {server.url}, interval: 100ms, retry_max: 1s, "
        "points: [{name: alarms, node: i=2253, events: alarms}]}\n"
    )
    options = (await asyncio.to_thread(load, tmp_path / "config.yaml", Registry())).devices[0]
    config = options.config.unpack()
    assert isinstance(config, OpcUaDevice)
    clock, collected, losses = SystemClock(), Collected(config), list[Lost]()
    current = DeviceCurrent(options.table, clock)

    async def keep(table: PointTable, batch: ReadingBatch) -> None:
        assert [point.reading_class for point in table.points] == [ReadingClass.ALARM]
        await collected.emit(batch)

    supervisor = DeviceSupervisor(
        options,
        FakeContext("cnc", clock),
        keep,
        lambda _table, lost: losses.append(lost),
        current,
        clock=clock,
        metrics=Metrics(),
        random=lambda: 0.1,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(supervisor.run())
        await eventually(lambda: current.phase is DevicePhase.ONLINE, what="online without any event")
        server.order("raise", alarm="Spindle", message="hot")
        await eventually(lambda: len(collected.all) == 2)
        await asyncio.to_thread(server.kill)
        await eventually(lambda: current.phase is DevicePhase.OFFLINE)
        await asyncio.to_thread(server.start)
        await eventually(lambda: len(collected.all) == 5)
        assert current.phase is DevicePhase.ONLINE
        task.cancel()
    texts = [json.loads(reading.value) if reading.value else {} for _, reading in collected.all]
    assert [reading.status for _, reading in collected.all] == [
        0,
        0,
        Quality.BAD_NO_COMMUNICATION,
        Quality.UNCERTAIN,
        0,
    ]
    assert [text.get("active") for text in texts] == [None, True, None, False, None]
    assert texts[-1] == {"event_type": "InSync", "retained": 0}
    assert [(lost.points, lost.reason) for lost in losses] == [((0,), LossReason.OUTAGE)]


async def test_a_device_with_events_conforms(server: OpcUaServer) -> None:
    device, _ = device_of(server, ALARMS, LOG, *points(["Counter"]), *points(["Feed"], mode="poll"))
    await check_device(device, point_count=4)


@pytest.fixture
async def asyncua_server() -> AsyncIterator[tuple[str, Server]]:
    server, url, _ = await open_asyncua()
    async with server:
        yield url, server


async def test_events_arrive_from_asyncuas_server_which_cannot_refresh(asyncua_server: tuple[str, Server]) -> None:
    url, server = asyncua_server
    alarms = await server.get_event_generator(ua.ObjectIds.AlarmConditionType)
    alarms.event.ConditionName = "Door"
    alarms.event.NodeId = ua.NodeId("Door", 1)
    setattr(alarms.event, "ActiveState/Id", True)
    alarms.event.Retain = True
    alarms.event.Severity = 600
    plain = await server.get_event_generator()
    table = [ALARMS, LOG, {"name": "no_notifier", "node": "i=2258", "events": "all"}]
    device, config = make_device(url, table)
    async with reporting(device, config) as collected:
        await in_sync(collected)
        await in_sync(collected, "log")
        await alarms.trigger(message="open")
        await plain.trigger(message="hello")
        await eventually(lambda: len(told(collected, "log")) == 2 and told(collected))
    (alarm,) = told(collected)
    assert (alarm["event_type"], alarm["condition"], alarm["message"]) == ("AlarmConditionType", "Door", "open")
    assert (alarm["severity"], alarm["active"], alarm["condition_id"]) == (
        600,
        True,
        "nsu=urn:freeopcua:python:server;s=Door",
    )
    assert told(collected, "log")[1]["message"] == "hello"
    assert everything(collected)[0] == {"event_type": "InSync"}
    assert collected.latest["no_notifier"].status >> 31 == 1


def _readings(collected: Collected) -> list[Reading]:
    return [reading for name, reading in collected.all if name == "alarms" and "InSync" not in reading.value]
