"""A session whose server tells nothing of its types."""

from collections.abc import Sequence
from typing import Any

from asyncua import ua

from edge_agent.model import Quality
from edge_agent_opcua.plan import addresses, reads
from tests.servers.opcua.fake_services import FakeServer
from tests.unit.test_opcua_session import config, prepared


async def test_a_server_that_tells_no_types_costs_the_parts_of_values_alone() -> None:
    server = FakeServer()
    told = server.read_attributes

    async def refuse(node_ids: Sequence[Any], attr: object) -> list[Any]:
        if attr == ua.AttributeIds.DataType:
            raise ua.UaStatusCodeError(ua.StatusCodes.BadServiceUnsupported)
        return await told(node_ids, attr)

    server.read_attributes = refuse  # type: ignore[method-assign]
    points = [
        {"name": "plain", "node": "i=7"},
        {"name": "part", "node": "i=8", "field": "Position.X"},
        {"name": "text", "node": "i=9", "labels": "server"},
    ]
    device = config(points=points, mode="poll")
    session = await prepared(server, device)
    (request,) = reads(addresses(device), [0, 1, 2], frozenset())
    batch = await session.read(request)
    assert batch.statuses() == {0: 0, 1: Quality.BAD_NO_DATA, 2: Quality.UNCERTAIN}
