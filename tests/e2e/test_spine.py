"""The main job, from servers that nobody here wrote to a subscriber that nobody here wrote."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.oracle import Oracle
from tests.e2e.plant import (
    POINTS,
    check_order_within,
    drained,
    head_yaml,
    in_streams,
    lasting_broker,
    latest,
    modbus_yaml,
    settled,
    until,
)
from tests.servers.agent import AgentProcess, agent
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import mosquitto
from tests.servers.opcua_server import OpcUaServer, opcua_server
from tests.servers.subscriber import subscriber

pytestmark = pytest.mark.slow


@contextmanager
def cnc() -> Iterator[OpcUaServer]:
    with opcua_server() as server:
        yield server


def test_readings_arrive_with_value_unit_quality_source_time_and_code(tmp_path: Path) -> None:
    opcua_points = {
        "float_7": ("Float.007", "mm"),
        "parts": ("PartCount", "pcs"),
        "program": ("Program", ""),
        "running": ("Running", ""),
        "broken": ("Broken", "bar"),
        "stamped": ("Stamped", "A"),
    }
    with mosquitto() as broker, subscriber(broker.port) as received, libmodbus_server() as plc, cnc() as server:
        yaml = head_yaml(broker) + modbus_yaml(plc.port)
        yaml += f"  - {{id: cnc-07, driver: opcua, url: '{server.url}', identifier: EQ.CNC07, points: [\n"
        for name, (node, unit) in opcua_points.items():
            yaml += f"      {{name: {name}, node: 'nsu=http://example.com/cnc;s={node}', unit: '{unit}'}},\n"
        yaml += "    ]}\n"
        with agent(tmp_path, yaml) as one:
            until(
                lambda: len(latest(received, "cnc-07")) == len(opcua_points) and latest(received, "press-2"),
                "first readings of both",
            )
            presses = latest(received, "press-2")
            cnc_points = latest(received, "cnc-07")
            directory: dict[str, Any] = received.on("/directory")[0].json()
            assert one.stop() == 0
    for number in range(POINTS):
        value, columns, body = presses[f"r{number}"]
        assert value == 2000 + number
        assert columns["unit"] == "bar"
        assert "q" not in columns
        assert body["code"] == "88.000.7/EQ.press-2"
    values = {name: value for name, (value, _, _) in cnc_points.items()}
    assert values == {
        "float_7": 7.5,
        "parts": str(2**53 + 1),
        "program": "O1234 齿轮",
        "running": True,
        "broken": None,
        "stamped": 1,
    }
    assert cnc_points["broken"][1]["q"][-1] == 0x808C0000  # BadSensorFailure, as the server said it
    assert cnc_points["parts"][1]["unit"] == "pcs"
    _, columns, body = cnc_points["stamped"]
    assert body["code"] == "88.000.7/EQ.CNC07"
    assert source_time_us(body["t"], columns["dt_us"][-1]) == source_time_us("2026-01-02T03:04:05.678000Z", 0)
    assert directory["devices"]["cnc-07"]["handle"] == "88.000.7/EQ.CNC07"


def source_time_us(t: str, dt_us: int) -> int:
    return round(datetime.fromisoformat(t).timestamp() * 1e6) + dt_us


def test_a_broker_that_is_stopped_for_30_s_costs_nothing_and_the_order_is_kept(tmp_path: Path) -> None:
    oracle = Oracle()
    with lasting_broker() as (broker, received), libmodbus_server() as plc:
        with agent(tmp_path, head_yaml(broker) + modbus_yaml(plc.port)) as one:
            until(lambda: len(received.on("/data")) > 20, "first messages")
            broker.stop()
            time.sleep(30)
            backlog = one.metrics()["edge_agent_outbox_pending_rows"]
            broker.start()
            drained(one)
            assert one.stop() == 0
        settled(oracle, received, one)
    assert backlog > 200
    assert not oracle.missing(one.state)
    assert not oracle.unexpected(one.state)
    assert oracle.historical > 200
    for message in received.messages:
        check_order_within(message)
    for streams in in_streams(received.messages).values():
        assert streams == sorted(streams), "rows of one stream came out of order"


def test_a_backlog_keeps_its_names_when_points_are_renamed_reordered_and_deleted(tmp_path: Path) -> None:
    points = [f"      - {{name: {name}, holding: {address}, type: uint16}}" for address, name in enumerate("abcd")]
    changed = [
        f"      - {{name: {name}, holding: {address}, type: uint16}}" for name, address in (("d", 3), ("x", 0))
    ]
    oracle = Oracle()
    with mosquitto() as broker, libmodbus_server() as plc:
        broker.stop()
        one = AgentProcess(tmp_path, head_yaml(broker) + modbus_yaml(plc.port, units=1, points=points))
        one.start()
        until(lambda: one.metrics()["edge_agent_outbox_committed_readings_total"] > 100, "a backlog")
        assert one.stop() == 0
        broker.start()
        with subscriber(broker.port) as received:
            one.write(head_yaml(broker) + modbus_yaml(plc.port, units=1, points=changed))
            one.start()
            drained(one)
            until(lambda: "x" in latest(received, "press-1"), "a reading under its new name")
            assert one.stop() == 0
            settled(oracle, received, one)
    values: dict[str, set[Any]] = {}
    for (_, _, _, point, _), value in oracle.readings.items():
        values.setdefault(point, set()).add(value)
    assert values == {"a": {1000}, "b": {1001}, "c": {1002}, "d": {1003}, "x": {1000}}
    assert not oracle.missing(one.state)


def test_peer_defect_06_a_clean_stop_keeps_the_backlog(tmp_path: Path) -> None:
    oracle = Oracle()
    with mosquitto() as broker, libmodbus_server() as plc:
        broker.stop()
        one = AgentProcess(tmp_path, head_yaml(broker) + modbus_yaml(plc.port))
        for _ in range(3):
            one.start()
            until(lambda: one.metrics()["edge_agent_outbox_committed_readings_total"] > 200, "readings")
            assert one.stop() == 0
        broker.start()
        with subscriber(broker.port) as received:
            one.start()
            drained(one)
            assert one.stop() == 0
            settled(oracle, received, one)
    assert not oracle.missing(one.state)
    assert not oracle.unexpected(one.state)
