"""Points that an OPC UA server has: what a subscriber gets of them, and what it costs when there are others."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.control import act
from tests.e2e.oracle import Oracle
from tests.e2e.plant import head_yaml, latest, started, until
from tests.servers.agent import AgentProcess
from tests.servers.mosquitto import Mosquitto, mosquitto
from tests.servers.opcua_server import NAMESPACE, OpcUaServer, opcua_server
from tests.servers.subscriber import Subscriber, subscriber
from tests.servers.supervised_opcua import SKIPPED

pytestmark = pytest.mark.slow

BELOW = f"/Objects/nsu={NAMESPACE};CNC"
ANALOG = {"Load": ["kilowatt", 0, 30]}


def device(name: str, server: OpcUaServer, **keys: Any) -> str:
    section = {"id": name, "driver": "opcua", "url": server.url, "interval": "100ms", "retry_max": "500ms"}
    section |= {"keep_alive": "500ms", "timeout": "1s"}
    return f"  - {json.dumps(section | keys)}\n"


def machine(server: OpcUaServer, **keys: Any) -> str:
    entries = [{"below": BELOW, "match": glob, "identifier": True} for glob in ("Float.*", "Load")]
    return device("cnc-07", server, browse=entries, **keys)


def neighbour(server: OpcUaServer) -> str:
    node = f"nsu={NAMESPACE};s=Counter"
    return device("cnc-08", server, points=[{"name": "count", "node": node, "sampling_interval": "10ms"}])


def directory(received: Subscriber) -> dict[str, Any]:
    messages = received.on("/directory")
    return messages[-1].json()["points"] if messages else {}


def counts(received: Subscriber) -> list[int]:
    return [
        value
        for message in received.on("/cnc-08/data")
        for row in message.json()["rows"]
        for value in row["points"]["count"]["v"]
    ]


def missing(received: Subscriber, one: AgentProcess) -> object:
    oracle = Oracle()
    oracle.take(list(received.messages))
    gaps = {(message.json()["epoch"], message.json()["row"]) for message in received.on("/gap")}
    return oracle.missing(one.state) - gaps


def state_of(one: AgentProcess, name: str) -> dict[str, Any]:
    devices: Any = one.status()["devices"]
    return next(each for each in devices if each["id"] == name)


def agent_with(folder: Path, broker: Mosquitto, devices: str) -> AgentProcess:
    return AgentProcess(folder, head_yaml(broker) + devices)


def test_what_the_server_has_arrives_and_what_it_gets_is_taken_up_while_others_go_on(tmp_path: Path) -> None:
    with (
        opcua_server(floats=3, analog=ANALOG) as server,
        opcua_server(floats=1) as other,
        mosquitto() as broker,
        subscriber(broker.port) as received,
        started(agent_with(tmp_path, broker, machine(server) + neighbour(other))) as one,
    ):
        until(
            lambda: {"float_000", "float_002", "load"} <= latest(received, "cnc-07").keys(), "found points arrive"
        )
        _, load, message = latest(received, "cnc-07")["load"]
        assert load["unit"] == "kW"
        assert message["code"] == "88.000.7/EQ.cnc-07"
        until(lambda: len(directory(received)) == 4, "their codes")
        told = directory(received)["cnc-07/load"]
        assert (told["handle"], told["unit"]) == ("88.000.7/EQ.cnc-07.load", "kW")
        assert told["range"] == {"low": 0.0, "high": 30.0}
        ranges = {point["name"]: point["range"] for point in state_of(one, "cnc-07")["points"]}
        assert ranges == {"float_000": None, "float_001": None, "float_002": None, "load": told["range"]}
        assert server.order("sessions")["ever"] == 2, "one to find them, one to collect them"
        handles = {name: entry["handle"] for name, entry in directory(received).items()}

        server.kill()
        until(lambda: state_of(one, "cnc-07")["phase"] == "offline", "the loss")
        server.start(floats=5, filler=4)  # more variables, under another number of their namespace
        until(lambda: "float_004" in latest(received, "cnc-07"), "the new ones arrive")
        until(lambda: len(directory(received)) == 6, "their codes")
        assert handles.items() <= {name: entry["handle"] for name, entry in directory(received).items()}.items()
        assert server.order("sessions")["ever"] == 2, "one reconnect more, because it has others now"

        server.kill()
        until(lambda: state_of(one, "cnc-07")["phase"] == "offline", "the second loss")
        server.start(floats=4, filler=1)
        until(lambda: state_of(one, "cnc-07")["remarks"], "it was looked through, and misses one")
        assert state_of(one, "cnc-07")["phase"] == "online"
        assert server.order("sessions")["ever"] == 1, "nothing is new, so there is no reconnect"

        assert other.order("sessions")["ever"] == 1
        counted = counts(received)
        assert not received.on("/cnc-08/gap")
        server.kill()
        other.kill()
        until(lambda: not missing(received, one), "everything committed arrives")
        assert one.stop() == 0
        assert '"points.found"' in (one.state / "audit" / "audit.jsonl").read_text()
    assert None not in counted
    holes = [after - before - 1 for before, after in pairwise(counted) if after != before + 1]
    assert max(holes, default=0) <= SKIPPED, "a busy server skips a sample now and then"


def test_what_was_found_is_known_while_the_server_is_away_and_forgotten_on_request(tmp_path: Path) -> None:
    with (
        opcua_server(floats=3, analog=ANALOG) as server,
        mosquitto() as broker,
        subscriber(broker.port) as received,
    ):
        one = agent_with(tmp_path, broker, machine(server))
        with started(one):
            until(lambda: "load" in latest(received, "cnc-07"), "found points arrive")
            one.kill()
        server.kill()
        with started(one):
            until(lambda: state_of(one, "cnc-07")["phase"] == "offline", "the server is away")
            points = state_of(one, "cnc-07")["points"]
            assert [point["name"] for point in points] == ["float_000", "float_001", "float_002", "load"]
            assert {point["quality"] for point in points} == {"BAD_NO_COMMUNICATION"}
            assert points[3]["unit"] == "kW"
            server.start(floats=1, analog={"Load": ["watt", 0, 30_000]})
            until(lambda: state_of(one, "cnc-07")["points"][3]["unit"] == "W", "another unit")
            until(lambda: state_of(one, "cnc-07")["remarks"], "what is gone")
            (remark,) = state_of(one, "cnc-07")["remarks"]
            assert remark.endswith("float_001, float_002")
            qualities = {point["name"]: point["quality"] for point in state_of(one, "cnc-07")["points"]}
            assert qualities["float_001"] == "BAD_NODE_ID_UNKNOWN"
            until(lambda: latest(received, "cnc-07")["load"][1].get("unit") == "W", "it arrives")
            act(one.folder / "control.sock", "forget", {"device": "cnc-07"})
            until(
                lambda: [point["name"] for point in state_of(one, "cnc-07")["points"]] == ["float_000", "load"],
                "only what is there",
            )
            assert one.stop() == 0


def test_a_server_with_nothing_is_connected_and_looked_through_again(tmp_path: Path) -> None:
    with (
        opcua_server(floats=1) as server,
        mosquitto() as broker,
        subscriber(broker.port) as received,
        started(
            agent_with(tmp_path, broker, device("cnc-07", server, browse=[{"below": BELOW, "match": "Late*"}]))
        ) as one,
    ):
        until(lambda: state_of(one, "cnc-07").get("remarks"), "the remark")
        assert state_of(one, "cnc-07")["phase"] == "online"
        assert "nothing matches Late*" in state_of(one, "cnc-07")["remarks"][0]
        server.order("add", name="Late", value=7)
        until(lambda: "late" in latest(received, "cnc-07"), "it arrives")
        assert latest(received, "cnc-07")["late"][0] == 7
        assert one.stop() == 0
