"""Events of asyncua's server: types and those below them, and what its queues give up."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asyncua import Client, Server, ua

from edge_agent.model import LossReason
from edge_agent.testing.eventually import eventually
from tests.servers.opcua.open_asyncua import open_asyncua
from tests.servers.opcua.reading import Collected, make_device, reporting
from tests.servers.opcua_server import NAMESPACE

LOG = {"node": "i=2253", "events": "all"}


class Machine:
    """A server whose events are of types of its own, three below one another and one aside."""

    def __init__(self, server: Server, url: str) -> None:
        self._server = server
        self.url = url
        self._types: dict[str, Any] = {}

    async def prepare(self, index: int) -> None:
        above: Any = ua.ObjectIds.AlarmConditionType
        for name in ("SpindleAlarm", "HeatAlarm", "OilAlarm"):
            above = await self._server.create_custom_event_type(index, name, above)
            self._types[name] = above
        self._types["Aside"] = await self._server.create_custom_event_type(
            index, "Aside", ua.ObjectIds.BaseEventType
        )
        self._types["Device"] = ua.ObjectIds.DeviceFailureEventType

    def type_of(self, name: str) -> str:
        node_id = self._types[name].nodeid
        return f"nsu={NAMESPACE};i={node_id.Identifier}"

    async def tell(self, *names: str, type_: str = "") -> None:
        """Tell an event for each name, which is its message and, unless it is given, its type."""
        for name in names:
            teller = await self._server.get_event_generator(self._types[type_ or name])
            await teller.trigger(message=name)


@pytest.fixture
async def machine(request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    """A server that has no refresh of conditions, unless the test asks for one."""
    server = Server()
    server.iserver.bind_condition_methods = getattr(request, "param", False)
    _, url, index = await open_asyncua(server)
    made = Machine(server, url)
    await made.prepare(index)
    async with server:
        yield made


def messages(collected: Collected, point: str) -> list[str]:
    events = [json.loads(reading.value) for name, reading in collected.all if name == point]
    return [event["message"] for event in events if event["event_type"] != "InSync"]


async def test_a_type_stands_for_those_below_it(machine: Machine) -> None:
    wanted = {
        "alarms": ["AlarmConditionType"],
        "heat": [machine.type_of("HeatAlarm")],
        "oil": [machine.type_of("OilAlarm")],
        "system": ["SystemEventType"],
        "two": [machine.type_of("Aside"), machine.type_of("HeatAlarm"), "nsu=urn:nobody;i=1"],
        "any": ["BaseEventType"],
    }
    table = [LOG | {"name": name, "event_types": types} for name, types in wanted.items()]
    device, config = make_device(machine.url, table)
    async with reporting(device, config) as collected:
        await collected.all_of(len(table))
        await machine.tell("SpindleAlarm", "HeatAlarm", "Aside", "OilAlarm", "Device")
        await eventually(lambda: len(messages(collected, "any")) == 5)
    assert {name: messages(collected, name) for name in wanted} == {
        "alarms": ["SpindleAlarm", "HeatAlarm", "OilAlarm"],
        "heat": ["HeatAlarm", "OilAlarm"],
        "oil": ["OilAlarm"],
        "system": ["Device"],
        "two": ["HeatAlarm", "Aside", "OilAlarm"],
        "any": ["SpindleAlarm", "HeatAlarm", "Aside", "OilAlarm", "Device"],
    }


async def test_asyncuas_server_takes_a_type_for_itself_alone_which_is_why_its_profile_names_those_below(
    machine: Machine,
) -> None:
    literal = ua.LiteralOperand(ua.Variant(ua.NodeId(ua.ObjectIds.AlarmConditionType), ua.VariantType.NodeId))
    of_type = ua.ContentFilterElement(ua.FilterOperator.OfType, [literal])
    select = [ua.SimpleAttributeOperand(ua.NodeId(ua.ObjectIds.BaseEventType), [ua.QualifiedName("Message")])]
    async with Client(machine.url) as client:
        subscription = await client.create_subscription(50)
        events = ua.EventFilter(select, ua.ContentFilter([of_type]))
        async with subscription:
            await subscription.subscribe_events(evfilter=events)
            await machine.tell("HeatAlarm")
            teller = await machine._server.get_event_generator(ua.ObjectIds.AlarmConditionType)
            await teller.trigger(message="itself")
            first = await anext(aiter(subscription))
    assert first.event.Message.Text == "itself"


@pytest.mark.slow
async def test_a_queue_that_was_full_counts_as_a_loss_where_the_server_does_not_tell_of_one(
    machine: Machine,
) -> None:
    """OPC 10000-4 §5.13.1.5 wants an EventQueueOverflowEventType; asyncua 2.1 drops the oldest in silence."""
    device, config = make_device(machine.url, [LOG | {"name": "log", "queue_size": 3}], publishing_interval="1s")
    async with reporting(device, config) as collected:
        await collected.all_of(1)
        await machine.tell("SpindleAlarm", "HeatAlarm")
        await eventually(lambda: messages(collected, "log") == ["SpindleAlarm", "HeatAlarm"])
        assert collected.lost == []
        await machine.tell("SpindleAlarm", "HeatAlarm", "OilAlarm", "Aside")
        await eventually(lambda: messages(collected, "log")[-1] == "Aside")
    assert messages(collected, "log")[2:] == ["HeatAlarm", "OilAlarm", "Aside"]
    assert [(each.points, each.reason, each.readings) for each in collected.lost] == [
        ((0,), LossReason.OVERFLOW, 0)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("machine", [True], indirect=True)
async def test_a_refresh_that_is_too_much_for_the_queue_is_not_asked_for_for_ever(machine: Machine) -> None:
    table = [LOG | {"name": "log", "queue_size": 2}]
    device, config = make_device(machine.url, table, publishing_interval="100ms")
    async with reporting(device, config) as collected:
        await eventually(lambda: collected.lost)  # begin, and end of the refresh
        for _ in range(3):
            told = len(messages(collected, "log"))
            await machine.tell("HeatAlarm")
            await eventually(lambda: len(messages(collected, "log")) == told + 1)  # noqa: B023 - awaited here
    texts = [json.loads(reading.value) for _, reading in collected.all]
    assert [text for text in texts if text["event_type"] == "InSync"] == [{"event_type": "InSync"}]
    assert len(collected.lost) == 1
