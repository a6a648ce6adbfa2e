"""What a subscriber gets of an outage of an OPC UA server: what its history has, and a gap record."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.plant import head_yaml, started, until
from tests.servers.agent import AgentProcess
from tests.servers.link import Link, proxy
from tests.servers.mosquitto import mosquitto
from tests.servers.opcua_server import NAMESPACE, opcua_server
from tests.servers.subscriber import Subscriber, subscriber
from tests.servers.supervised_opcua import SKIPPED

pytestmark = pytest.mark.slow


def counts(received: Subscriber, *, historical: bool) -> list[int]:
    return [
        value
        for message in received.on("/cnc-07/data")
        for row in message.json()["rows"]
        if row["historical"] is historical
        for value in row["points"].get("count", {"v": []})["v"]
        if value is not None
    ]


def test_the_hole_is_filled_and_what_cannot_be_filled_is_told(tmp_path: Path) -> None:
    with opcua_server(history=True) as server, proxy(server.port) as way, mosquitto() as broker:
        points = [
            {"name": "count", "node": f"nsu={NAMESPACE};s=Counter", "sampling_interval": "10ms"},
            {"name": "feed", "node": f"nsu={NAMESPACE};s=Feed"},
        ]
        device = {"id": "cnc-07", "driver": "opcua", "url": f"opc.tcp://127.0.0.1:{way.port}", "interval": "100ms"}
        device |= {"keep_alive": "500ms", "timeout": "500ms", "connect_timeout": "2s", "retry_max": "500ms"}
        yaml = head_yaml(broker) + f"  - {json.dumps(device | {'points': points})}\n"
        one = AgentProcess(tmp_path, yaml)
        with subscriber(broker.port) as received, started(one):
            until(lambda: len(counts(received, historical=False)) > 20, "readings arrive")
            way.link = Link.HALF_OPEN
            until(lambda: one.metrics()["edge_agent_device_up"] == 0, "the loss")
            way.link = Link.GOOD
            until(lambda: counts(received, historical=True), "the history")
            before = len(counts(received, historical=False))
            until(lambda: len(counts(received, historical=False)) > before + 20, "fresh readings")
            until(lambda: received.on("/cnc-07/gap"), "the gap record")
            assert one.stop() == 0
        (gap,) = (message.json() for message in received.on("/cnc-07/gap"))
        assert (gap["reason"], gap["points"], gap["readings"]) == ("outage", ["feed"], 0)
        assert gap["from"] < gap["to"]
        fetched = counts(received, historical=True)
        assert len(fetched) == len(set(fetched))
        told = sorted({*fetched, *counts(received, historical=False)})
        assert max(after - before for before, after in pairwise(told)) <= 1 + SKIPPED
