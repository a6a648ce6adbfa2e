"""Reload: what changed is touched, and nothing else; what is broken changes nothing."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.control import act
from tests.e2e.oracle import Oracle
from tests.e2e.plant import device, drained, head_yaml, lasting_broker, latest, reload, settled, started, until
from tests.servers.agent import EDGE_AGENT, AgentProcess, agent
from tests.servers.modbus_server import libmodbus_server
from tests.servers.mosquitto import Mosquitto, mosquitto
from tests.servers.subscriber import Received, subscriber

pytestmark = pytest.mark.slow


def connections(broker: Mosquitto, client_id: str) -> int:
    lines = broker.log.read_text().splitlines()
    return sum("New client connected" in line and f" as {client_id} (" in line for line in lines)


class Tap:
    """Stands between the agent and a server, and counts the connections."""

    def __init__(self, target: int) -> None:
        self.accepted = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="tap")
        self._thread.start()
        self._pumps: list[threading.Thread] = []

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._target))
            self.accepted += 1
            self._sockets += [here, there]
            for source, sink in ((here, there), (there, here)):
                pump = threading.Thread(target=self._pump, args=(source, sink), name="tap:pump")
                pump.start()
                self._pumps.append(pump)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                with_no_complaint(one)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with_no_complaint(one)
        for thread in [self._thread, *self._pumps]:
            thread.join(10)
        for one in self._sockets:
            one.close()


def with_no_complaint(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def tap(target: int) -> Iterator[Tap]:
    one = Tap(target)
    try:
        yield one
    finally:
        one.close()


def times_us(messages: list[Received], name: str) -> list[int]:
    """Return when the readings of a device were taken, each once, in order."""
    found: set[int] = set()
    for message in messages:
        if message.topic.endswith(f"/{name}/data"):
            for row in message.json()["rows"]:
                begin_us = round(datetime.fromisoformat(row["t"]).timestamp() * 1e6)
                for columns in row["points"].values():
                    found.update(begin_us + offset_us for offset_us in columns["dt_us"])
    return sorted(found)


def test_one_of_the_devices_changes_and_the_others_notice_nothing(folder: Path) -> None:
    with lasting_broker() as (broker, received), libmodbus_server() as plc, tap(plc.port) as wire:
        others = "".join(device(f"press-{n}", wire.port, n) for n in range(1, 6))
        with agent(folder, head_yaml(broker) + others + device("mill", wire.port, 9)) as one:
            until(lambda: received.on("/mill/data"), "first readings")
            accepted = wire.accepted
            one.write(head_yaml(broker) + others + device("mill", wire.port, 9, point="speed"))
            trial = json.loads(reload(one, "--dry-run", "--json").stdout)
            assert trial["devices"] == {
                "added": [],
                "removed": [],
                "changed": ["mill"],
                "adjusted": [],
                "unchanged": 5,
            }
            done = reload(one)
            assert done.returncode == 0, done.stderr
            assert "device\tmill\tchanged" in done.stdout
            until(
                lambda: any(
                    "speed" in row["points"] for m in received.on("/mill/data") for row in m.json()["rows"]
                ),
                "readings of the new point",
            )
            assert wire.accepted <= accepted + 1
            until(lambda: len(received.on("/directory")) == 1, "one directory")
            again = json.loads(reload(one, "--json").stdout)
            assert again["result"] == "unchanged"
            assert one.metrics()["edge_agent_config_last_reload_successful"] == 1
            drained(one)
            assert one.stop() == 0
        assert connections(broker, "gw-e2e") == 1
        oracle = Oracle()
        settled(oracle, received, one)
        assert not oracle.missing(one.state)


def test_names_labels_and_deadbands_are_taken_up_in_the_session_that_there_is(folder: Path) -> None:
    with lasting_broker() as (broker, received), libmodbus_server() as plc, tap(plc.port) as wire:
        head = head_yaml(broker)
        plain = device("mill", wire.port, 9, interval="50ms")
        told = plain.replace("unit: 9", "unit: 9\n    name: Fräse 1\n    labels: {serial: S-77}")
        told = told.replace("type: uint16", "type: uint16, description: of the oil")
        banded = told.replace("type: uint16", "type: uint16, deadband: {absolute: 60000}")
        with agent(folder, head + plain) as one:
            until(lambda: received.on("/mill/data"), "first readings")
            until(lambda: len(received.on("/directory")) == 1, "a directory")
            accepted = wire.accepted
            for text, directories in ((told, 2), (banded, 2), (told, 2)):
                one.write(head + text)
                done = reload(one)
                assert done.returncode == 0, done.stderr
                assert "device\tmill\tadjusted" in done.stdout
                taken = one.metrics()["edge_agent_readings_total"]
                until(lambda: one.metrics()["edge_agent_readings_total"] > taken + 5, "some rounds")  # noqa: B023
                until(lambda: len(received.on("/directory")) == directories, "the directory")  # noqa: B023
            assert received.on("/directory")[-1].json()["devices"]["mill"]["alt"]["serial"] == "S-77"
            shown: dict[str, Any] = one.status()
            assert [it["name"] for it in shown["devices"]] == ["Fräse 1"]
            drained(one)
            figures = one.metrics()
            assert figures["edge_agent_connects_total"] == 1
            assert figures["edge_agent_device_losses_total"] == 0
            assert figures["edge_agent_readings_suppressed_total"] > 0
            assert one.stop() == 0
        assert wire.accepted == accepted
        assert connections(broker, "gw-e2e") == 1
        oracle = Oracle()
        settled(oracle, received, one)
        assert not oracle.missing(one.state)
        assert not oracle.unexpected(one.state)


def test_what_is_wrong_with_the_file_changes_nothing_and_is_told_at_its_place(folder: Path) -> None:
    with lasting_broker() as (broker, received), libmodbus_server() as plc:
        good = head_yaml(broker) + device("mill", plc.port, 9, interval="100ms")
        with agent(folder, good) as one:
            until(lambda: received.on("/mill/data"), "first readings")
            before = one.status()
            one.write(good.replace("holding: 1", "holding: 70000"))
            refused = reload(one)
            assert refused.returncode == 78
            assert f"{one.config}:" in refused.stderr
            assert "nothing was changed" in refused.stderr
            one.write(good.replace("gw-e2e", "gw-other"))
            elsewhere = reload(one)
            assert elsewhere.returncode == 1
            assert "gateway.id: cannot change while the agent runs" in elsewhere.stderr
            key = one.folder / "nothing.pem"
            key.write_text("no certificate")
            tls = f"tls: {{ca: {key}}}\n"
            one.write(good.replace("mqtt://", "mqtts://").replace("    retry_max: 2s\n", f"    {tls}"))
            unusable = reload(one, "--json")
            assert unusable.returncode == 78
            assert "cannot use the TLS files" in json.loads(unusable.stdout)["problems"][0]["message"]
            after = one.status()
            assert after["config"] == before["config"]
            metrics = one.metrics()
            assert metrics["edge_agent_config_last_reload_successful"] == 0
            assert metrics["edge_agent_reloads_total"] == 3
            assert metrics["edge_agent_connects_total"] == 1
            assert metrics["edge_agent_publisher_sessions_total"] == 1
            assert one.stop() == 0


def test_a_driver_with_a_bug_is_refused_and_the_agent_goes_on(folder: Path) -> None:
    driver = folder / "drivers" / "edge_agent_odd"
    driver.mkdir(parents=True, mode=0o755)
    (driver / "__init__.py").write_text(
        "from edge_agent.driver import API, DeviceModel, DriverSpec\n"
        "def create(context, config):\n"
        "    raise ZeroDivisionError('odd')\n"
        "DRIVER = DriverSpec(protocol='odd', title='Odd', api=API, config_model=DeviceModel, create=create)\n"
    )
    with mosquitto() as broker, libmodbus_server() as plc:
        yaml = head_yaml(broker) + device("mill", plc.port, 9)
        with agent(folder, yaml) as one:
            one.write(
                f"drivers_path: [{folder}/drivers]\n{yaml}  - {{id: odd, driver: odd, points: [{{name: x}}]}}\n"
            )
            refused = reload(one)
            assert refused.returncode == 1, refused.stderr
            assert "ZeroDivisionError while the configuration was checked: odd" in refused.stderr
            one.write(yaml)
            assert reload(one).returncode == 0
            assert one.stop() == 0


def test_devices_and_publishers_come_and_go_on_sighup_and_the_backlog_is_for_the_new_one(folder: Path) -> None:
    with lasting_broker() as (broker, received), libmodbus_server() as plc, lasting_broker() as (other, copied):
        head = head_yaml(broker)
        second = (
            f'  - {{id: plant, type: mqtt, servers: ["mqtt://127.0.0.1:{other.port}"], retry_max: 1s}}\ndevices:\n'
        )
        mill, press = (device(name, plc.port, 9, interval="100ms") for name in ("mill", "press"))
        with agent(folder, head + mill) as one:
            until(lambda: len(received.on("/mill/data")) > 5, "readings of the first device")
            one.write(head.replace("devices:\n", second) + press)
            assert one.process
            one.process.send_signal(signal.SIGHUP)
            until(lambda: len(received.on("/press/data")) > 5, "readings of the new device")
            until(lambda: copied.on("/press/data"), "readings at the new publisher")
            until(lambda: len(received.on("/directory")) == 2, "the new directory")
            assert list(received.on("/directory")[-1].json()["devices"]) == ["press"]
            status: dict[str, Any] = one.status()
            assert [it["id"] for it in status["devices"]] == ["press"]
            assert [it["id"] for it in status["publishers"]] == ["cloud", "plant"]
            assert 'device="mill"' not in one._get("metrics")
            one.write(head + press)
            assert reload(one).returncode == 0
            drained(one)
            assert list(one.status()["outbox"]["pending"]) == ["cloud"]  # type: ignore[index]
            assert one.stop() == 0
        assert connections(broker, "gw-e2e") == 1
        oracle = Oracle()
        settled(oracle, received, one)
        assert not oracle.missing(one.state)


def test_a_broken_file_starts_with_the_last_good_configuration_only_when_told_to(folder: Path) -> None:
    with mosquitto() as broker, libmodbus_server() as plc, subscriber(broker.port) as received:
        good = head_yaml(broker) + device("mill", plc.port, 9, interval="100ms")
        environment = {"STATE_DIRECTORY": str(folder / "state")}
        with agent(folder, good) as one:
            kept = one.state / "last-good.json"
            until(kept.exists, "the last good configuration is kept")
            assert kept.stat().st_mode & 0o777 == 0o600
        one.config.write_text("devices: [\n")
        command = [str(EDGE_AGENT), "run", str(one.config)]
        assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 78
        received.messages.clear()
        with one.log.open("ab") as log:
            one.process = subprocess.Popen([*command, "--last-good"], stderr=log, env=os.environ | environment)
        try:
            until(lambda: received.on("/mill/data"), "readings")
            status: dict[str, Any] = one.status()
            assert str(one.config) in status["config"]["why_last_good"]
            assert one.metrics()["edge_agent_config_is_last_good"] == 1
            assert "the last good one runs instead" in one.log.read_text()
            until(lambda: received.on("/health"), "health")
            assert str(one.config) in received.on("/health")[-1].json()["health"]["config_problem"]
            assert reload(one).returncode == 78
            one.write(good)
            assert reload(one).returncode == 0
            mended: dict[str, Any] = one.status()
            assert mended["config"]["why_last_good"] == ""
            assert one.metrics()["edge_agent_config_is_last_good"] == 0
        finally:
            assert one.stop() == 0


def sockets(port: int) -> set[tuple[str, str]]:
    """Return the established connections to a port of this machine: peer, own end."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {(it[2], it[1]) for it in lines if it[2].endswith(f":{port:04X}") and it[3] == "01"}


def test_500_devices_and_a_change_of_one_of_them(folder: Path) -> None:
    with lasting_broker() as (broker, received), libmodbus_server(host="0.0.0.0") as plc:  # noqa: S104 - 127.0.0.0/8
        hosts = [f"127.0.{n // 250 + 1}.{n % 250 + 1}" for n in range(500)]
        devices = [device(f"m-{n}", plc.port, 1, "2s", host=host) for n, host in enumerate(hosts)]
        with agent(folder, head_yaml(broker) + "".join(devices)) as one:
            until(lambda: len(sockets(plc.port)) == 500, "500 connections", within_s=60)
            until(lambda: len(received.on("/m-499/data")) > 3, "some rounds")
            before, figures = sockets(plc.port), one.metrics()
            devices[7] = device("m-7", plc.port, 1, "2s", host=hosts[7], point="speed")
            one.write(head_yaml(broker) + "".join(devices))
            begin_s = time.monotonic()
            answer = act(one.folder / "control.sock", "reload", timeout_s=30)
            took_s = time.monotonic() - begin_s
            assert answer["devices"] == {
                "added": [],
                "removed": [],
                "changed": ["m-7"],
                "adjusted": [],
                "unchanged": 499,
            }
            until(lambda: "speed" in latest(received, "m-7"), "readings of the new point")
            seen = len(received.on("/m-499/data"))
            until(lambda: len(received.on("/m-499/data")) > seen + 3, "some rounds more")
            after, later = sockets(plc.port), one.metrics()
            drained(one, 1000)
            assert one.stop() == 0
        print(f"reload of 1 of 500 devices: {took_s:.2f} s, {len(before - after)} connections ended")
        assert len(before) == len(after) == 500
        assert len(before - after) == 1
        assert connections(broker, "gw-e2e") == 1
        assert later["edge_agent_overruns_total"] == figures["edge_agent_overruns_total"]
        assert later["edge_agent_exchange_failures_total"] == figures["edge_agent_exchange_failures_total"]
        assert took_s < 2
        oracle = Oracle()
        settled(oracle, received, one)
        assert not oracle.missing(one.state)
        for n in range(500):
            if n != 7:
                times = times_us(received.messages, f"m-{n}")
                assert max(b - a for a, b in pairwise(times[1:])) < 3_900_000, f"m-{n} missed a turn"


def test_killed_in_the_middle_of_a_reload_it_comes_back_with_the_file_and_loses_nothing(folder: Path) -> None:
    with lasting_broker() as (broker, received), libmodbus_server() as plc:
        head = head_yaml(broker)
        one = AgentProcess(folder, head + device("mill", plc.port, 9, interval="50ms"))
        for turn in range(8):
            names = ["mill", "press", "saw"][: turn % 3 + 1]
            with started(one):
                until(lambda: one.status()["outbox"]["committed"], "a commit")  # type: ignore[index]
                one.write(head + "".join(device(name, plc.port, 9, interval="50ms") for name in names))
                assert one.process
                one.process.send_signal(signal.SIGHUP)
                time.sleep(turn * 0.02)  # another moment each time
                one.kill()
            with started(one):
                assert [it["id"] for it in one.status()["devices"]] == names  # type: ignore[attr-defined]
                assert one.stop() == 0
        oracle = Oracle()
        settled(oracle, received, one)
        assert not oracle.missing(one.state)
        assert not oracle.unexpected(one.state)
