"""What is told of an outage where a server has several subscriptions."""

from edge_agent.model import LossReason, Lost
from edge_agent.testing.fakes import FakeClock
from edge_agent_opcua.resumption import Past
from tests.servers.opcua.fake_services import FakeServer
from tests.unit.test_opcua_session import config, listened, prepared


async def test_the_loss_begins_where_the_slowest_subscription_was_heard_last() -> None:
    clock, past = FakeClock(), Past()
    begun_ns = clock.now_ns()
    points = [
        {"name": "fast", "node": "i=1"},
        {"name": "slow", "node": "i=2", "publishing_interval": "60s"},
    ]
    told: list[Lost] = []
    for _ in range(2):
        server = FakeServer()
        session = await prepared(server, config(points=points, keep_alive="1h"), clock, past)
        asked_ns = clock.now_ns()
        batches = await listened(server, session, clock, 5, 10)  # the fast one alone is heard
        told += [lost for batch in batches for lost in batch.lost]
    assert told == [Lost((0, 1), begun_ns, asked_ns, LossReason.OUTAGE)]
    assert past.complete_ns == asked_ns < past.heard_ns
