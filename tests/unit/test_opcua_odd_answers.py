"""Answers that make no sense, and those that mean no good: they cost what they are about, and nothing else."""

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary

from edge_agent.testing.fakes import FakeClock
from edge_agent_opcua.conditions import Conditions
from edge_agent_opcua.event import Wanted
from edge_agent_opcua.plan import addresses, subscriptions
from edge_agent_opcua.resumption import Past
from edge_agent_opcua.session import OpcUaSession
from tests.servers.opcua.fake_services import SUBSCRIPTION, FakeServer
from tests.unit.test_opcua_session import change, config, listened, prepared, run


def events(sequence: int, handle: int, content: Any) -> Any:
    fields = [ua.EventFieldList(handle, [content])]
    return SUBSCRIPTION, sequence, [ua.EventNotificationList(Events=fields)]


async def test_an_event_of_a_variable_is_passed_over() -> None:
    server = FakeServer()
    session = await prepared(server, config(2))
    server.notifications = [events(1, 1, ua.Variant(7, ua.VariantType.Int32)), change(2, (1, 11))]
    got, reason = await run(server, session)
    assert got == [11]
    assert "has lost the subscription" in reason


async def test_a_value_of_a_notifier_is_passed_over() -> None:
    server = FakeServer()
    points = [{"name": "alarms", "node": "i=2253", "events": "alarms"}, {"name": "p", "node": "i=1"}]
    device = config(points=points)
    conditions = Conditions({}, {0: ("alarms", Wanted(is_of_conditions=True))})
    session = OpcUaSession(device, addresses(device), conditions, Past(), FakeClock(), server)
    await session.prepare(subscriptions(device))
    server.notifications = [change(1, (0, 5), (1, 11))]
    got, _ = await run(server, session)
    assert [value for value in got if isinstance(value, int)] == [11]


async def test_what_the_server_kept_to_itself_and_does_not_report_anew_is_bad() -> None:
    server, clock = FakeServer(), FakeClock()
    session = await prepared(server, config(1, mode="both", keep_alive="1h", check_interval="10min"), clock)
    server.notifications = [change(1, (0, 99))]  # a read gives 0
    server.item_codes = {0: ua.StatusCodes.BadOutOfMemory}
    batches = await listened(server, session, clock, 1, 600, 5, 10)
    *_, last = batches
    assert [list(column.statuses or ()) for column in last.columns] == [[ua.StatusCodes.BadOutOfMemory]]


@pytest.mark.parametrize("year", [1601, 9999])
async def test_a_server_without_a_clock_is_not_taken_for_one_of_another_century(year: int) -> None:
    server, clock = FakeServer(), FakeClock()
    server.now = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    session = await prepared(server, config(1), clock)
    assert session.remarks == ()


@pytest.mark.parametrize("length", [1, 2**31 - 1])
def test_an_array_of_nothing_takes_no_memory(length: int) -> None:
    body = bytes([0x80]) + length.to_bytes(4, "little")
    with pytest.raises(ValueError, match="times nothing"):
        ua_binary.variant_from_binary(Buffer(body))
