"""``edge-agent devices`` against an agent in a process of its own, and a device in C."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.agent import EDGE_AGENT, agent
from tests.servers.modbus_server import libmodbus_server

pytestmark = pytest.mark.slow

YAML = """\
gateway: {{id: gw-01}}
publishers: []
devices:
  - id: press-01
    driver: modbus
    host: 127.0.0.1
    port: {port}
    interval: 100ms
    points:
      - {{name: a, holding: 0, type: uint16, unit: bar}}
      - {{name: b, holding: 1, type: uint16}}
      - {{name: c, holding: 2, type: uint16}}
      - {{name: d, holding: 3, type: uint16}}
"""
WHOLE = (1, 3, 0, 4)
APART = [(1, 3, 0, 1), (1, 3, 2, 2)]


def devices(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(EDGE_AGENT), "devices", "--socket", f"{folder}/control.sock", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def known(folder: Path) -> dict[str, object]:
    answer: dict[str, object] = json.loads(devices(folder, "press-01", "--json").stdout)
    return answer


def until(condition: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


def test_what_a_device_refuses_is_shown_survives_a_restart_and_is_forgotten_on_request(folder: Path) -> None:
    with libmodbus_server(illegal=[(1, 3, 1, 1)]) as server:
        yaml = YAML.format(port=server.port)
        with agent(folder, yaml) as running:
            until(lambda: server.requests()[-2:] == APART, "the refused point is kept apart")
            until(lambda: "answer_time_us" in known(folder)["learned"], "the answers are timed")  # type: ignore[operator]
            shown = devices(folder, "press-01")
            assert (shown.returncode, shown.stderr) == (0, "")
            assert re.search(r"^press-01, modbus, online$", shown.stdout, re.MULTILINE)
            assert re.search(r"^a\t1000\tbar\tGOOD\t2\d", shown.stdout, re.MULTILINE)
            assert re.search(r"^b\t\t\tBAD_NODE_ID_UNKNOWN\t2\d", shown.stdout, re.MULTILINE)
            assert re.search(r"^unit 1 FC3 holding 2..3 .*\t0.1 s$", shown.stdout, re.MULTILINE)
            assert re.search(r"^b\tBAD_NODE_ID_UNKNOWN\tin \d+ s$", shown.stdout, re.MULTILINE)
            assert re.search(r"^answer_time_us\t\d+$", shown.stdout, re.MULTILINE)
            running.kill()
            asked = len(server.requests())

            running.start()
            until(lambda: len(server.requests()) > asked + 4, "it is asked again")
            assert {*server.requests()[asked:]} == set(APART), "searched for what is known"
            assert [it["point"] for it in known(folder)["refused"]] == ["b"]  # type: ignore[attr-defined]

            forgotten = devices(folder, "press-01", "--forget")
            assert re.match(r"press-01: forgot 1 refused point, 0 silent exchanges, ", forgotten.stdout)
            until(lambda: WHOLE in server.requests()[asked:], "it is asked for everything again")
            until(lambda: server.requests()[-2:] == APART, "and the refused point is found again")


def test_all_devices_in_a_table_and_one_that_is_not_there(folder: Path) -> None:
    with libmodbus_server() as server, agent(folder, YAML.format(port=server.port)):
        until(lambda: "\tonline\t" in devices(folder).stdout, "online")
        assert re.search(r"^press-01\tmodbus\tonline\t\d+ s\t4\t0\t0 s ago$", devices(folder).stdout, re.MULTILINE)
        assert [device["id"] for device in json.loads(devices(folder, "--json").stdout)["devices"]] == ["press-01"]
        for more in ((), ("--forget",)):
            unknown = devices(folder, "lathe", *more)
            assert (unknown.returncode, unknown.stdout) == (1, "")
            assert "the agent has no device 'lathe'; it has press-01" in unknown.stderr
        everything = devices(folder, "--forget")
        assert (everything.returncode, "--forget" in everything.stderr) == (2, True)
