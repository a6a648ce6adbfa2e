"""A wall clock that steps, or starts in 1970: nothing is lost, reordered or expired, and times come out right."""

import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.oracle import Oracle
from tests.e2e.plant import drained, head_yaml, in_streams, lasting_broker, modbus_yaml, settled, until
from tests.servers.agent import AgentProcess
from tests.servers.modbus_server import libmodbus_server
from tests.servers.subscriber import Subscriber
from tests.servers.wrong_clock import WrongClock

pytestmark = pytest.mark.slow

HOUR_S = 3600.0


def times_s(received: Subscriber) -> list[float]:
    """Return when each row says that it was acquired, in the order of the rows."""
    found = {
        row["row"]: datetime.fromisoformat(row["t"]).timestamp()
        for message in received.on("/data")
        for row in message.json()["rows"]
    }
    return [found[row] for row in sorted(found)]


def readings(one: AgentProcess) -> float:
    return one.metrics()["edge_agent_outbox_committed_readings_total"]


def more(one: AgentProcess, count: int = 400) -> None:
    """Wait until so many more readings are committed."""
    goal = readings(one) + count
    until(lambda: readings(one) >= goal, "more readings")


def lost(one: AgentProcess) -> float:
    return sum(value for name, value in one.metrics().items() if name == "edge_agent_outbox_lost_readings_total")


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_steps_costs_no_reading_no_order_and_expires_nothing(tmp_path: Path, step_s: float) -> None:
    oracle, clock = Oracle(), WrongClock(tmp_path)
    with lasting_broker() as (broker, received), libmodbus_server() as plc:
        one = AgentProcess(
            tmp_path,
            head_yaml(broker) + modbus_yaml(plc.port),
            outbox="max_age: 30min",
            environment=clock.environment,
        )
        one.start()
        more(one)
        broker.stop()
        more(one)
        clock.set(step_s)
        more(one)
        until(lambda: one.metrics()["edge_agent_clock_steps_total"] == 1, "the step is counted")
        more(one)
        clock.set(0.0)
        until(lambda: one.metrics()["edge_agent_clock_steps_total"] == 2, "the step back is counted")
        more(one)
        assert lost(one) == 0
        broker.start()
        drained(one)
        assert lost(one) == 0
        assert one.stop() == 0
        settled(oracle, received, one)
    assert not oracle.missing(one.state)
    assert not oracle.unexpected(one.state)
    for rows in in_streams(received.messages).values():
        assert rows == sorted(rows), "rows of one device and stream came out of order"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_readings_from_before_the_first_sync_get_their_true_time(tmp_path: Path, *, is_restarted: bool) -> None:
    begin_s, oracle, clock = time.time(), Oracle(), WrongClock(tmp_path)
    clock.show(1970, is_synced=False)
    with lasting_broker() as (broker, received), libmodbus_server() as plc:
        broker.stop()
        one = AgentProcess(
            tmp_path,
            head_yaml(broker) + modbus_yaml(plc.port),
            outbox="max_age: 30min",
            environment=clock.environment,
        )
        one.start()
        more(one)
        if is_restarted:
            one.kill()
            one.start()
            more(one)
        clock.set(0.0)
        until(lambda: one.metrics()["edge_agent_clock_synced"], "the time is known")
        more(one)
        assert lost(one) == 0
        broker.start()
        drained(one)
        assert one.stop() == 0
        settled(oracle, received, one)
    end_s, acquired_s = time.time(), times_s(received)
    print(
        f"1970: {len(acquired_s)} rows, acquired {min(acquired_s) - begin_s:.1f} s after the start at the earliest"
    )
    assert not oracle.missing(one.state)
    assert not oracle.unexpected(one.state)
    assert begin_s - 1 < min(acquired_s) <= max(acquired_s) < end_s + 1
    for device in ("press-1", "press-2"):
        assert device in {message.json()["device"] for message in received.on("/data")}
