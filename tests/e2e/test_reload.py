"""Reload: what changed is touched, and nothing else; what is broken changes nothing."""

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from http.client import HTTPSConnection
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trustme

from edge_agent.cli.control import act
from tests.e2e.oracle import Oracle
from tests.e2e.plant import drained, head_yaml, lasting_broker, latest, settled, started, until
from tests.servers.agent import EDGE_AGENT, AgentProcess, agent
from tests.servers.modbus_server import libmodbus_server
from tests.servers.modbus_tls import Plant
from tests.servers.mosquitto import BrokerTls, Mosquitto, mosquitto
from tests.servers.subscriber import Received, subscriber

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a name short enough for a Unix socket."""
    with TemporaryDirectory(prefix="ea", dir="/tmp") as name:
        yield Path(name)


def reload(one: AgentProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(EDGE_AGENT), "reload", "--socket", str(one.folder / "control.sock"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def connections(broker: Mosquitto, client_id: str) -> int:
    lines = broker.log.read_text().splitlines()
    return sum("New client connected" in line and f" as {client_id} (" in line for line in lines)


def device(
    name: str, port: int, unit: int, interval: str = "1s", point: str = "temperature", host: str = "127.0.0.1"
) -> str:
    lines = [
        f"  - id: {name}",
        "    driver: modbus",
        f"    host: {host}",
        f"    port: {port}",
        f"    unit: {unit}",
    ]
    lines += [f"    interval: {interval}", "    points:", f"      - {{name: {point}, holding: 1, type: uint16}}"]
    return "\n".join(lines) + "\n"


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
            assert trial["devices"] == {"added": [], "removed": [], "changed": ["mill"], "unchanged": 5}
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
        devices = [device(f"m-{n}", plc.port, 1, host=host) for n, host in enumerate(hosts)]
        with agent(folder, head_yaml(broker) + "".join(devices)) as one:
            until(lambda: len(sockets(plc.port)) == 500, "500 connections", within_s=60)
            until(lambda: len(received.on("/m-499/data")) > 3, "some rounds")
            before, figures = sockets(plc.port), one.metrics()
            devices[7] = device("m-7", plc.port, 1, host=hosts[7], point="speed")
            one.write(head_yaml(broker) + "".join(devices))
            begin_s = time.monotonic()
            answer = act(one.folder / "control.sock", "reload", timeout_s=30)
            took_s = time.monotonic() - begin_s
            assert answer["devices"] == {"added": [], "removed": [], "changed": ["m-7"], "unchanged": 499}
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
                assert max(b - a for a, b in pairwise(times[1:])) < 1_900_000, f"m-{n} missed a turn"


def test_a_new_password_is_taken_up_and_nothing_is_lost(folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text("old-word")
    secret.chmod(0o600)
    with mosquitto(passwords={"edge": "old-word", "watcher": "w"}) as broker, libmodbus_server() as plc:
        login = f"    username: edge\n    password: !file {secret}\ndevices:\n"
        yaml = head_yaml(broker).replace("devices:\n", login) + device("mill", plc.port, 9, interval="50ms")
        with (
            subscriber(broker.port, arguments=["-u", "watcher", "-P", "w"]) as received,
            agent(folder, yaml) as one,
        ):
            until(lambda: len(received.on("/data")) > 5, "first readings")
            one.config.write_text("not: [what anybody asked for\n")  # a renewal does not look at the file
            new = folder / "new"
            new.write_text("new-word")
            new.chmod(0o600)
            new.replace(secret)
            path = broker.directory / "passwords"
            subprocess.run(["mosquitto_passwd", "-b", str(path), "edge", "new-word"], check=True)
            broker.reload()
            until(
                lambda: one.metrics()["edge_agent_publisher_sessions_total"] == 2, "a second session", within_s=30
            )
            seen = len(received.on("/data"))
            until(lambda: len(received.on("/data")) > seen + 5, "readings in the second session")
            assert one.metrics()["edge_agent_connects_total"] == 1
            assert one.metrics()["edge_agent_reloads_total"] == 1
            assert '"credentials.renewed"' in (one.state / "audit" / "audit.jsonl").read_text()
            until(lambda: one.metrics()["edge_agent_outbox_pending_rows"] <= 3, "the backlog drains")
            assert one.stop() == 0
            one.environment = {}
            oracle = Oracle()
            settled(oracle, received, one)
            assert not oracle.missing(one.state)


def renewed(folder: Path, authority: trustme.CA) -> None:
    """Write another certificate and key, one after the other, as somebody does by hand."""
    own = authority.issue_cert("edge", common_name="edge")
    pem = b"".join(blob.bytes() for blob in own.cert_chain_pems)
    for name, content in (("own.pem", pem), ("own.key", own.private_key_pem.bytes())):
        new = folder / f"{name}.new"
        new.touch(mode=0o600)
        new.write_bytes(content)
        new.replace(folder / name)


def test_a_new_certificate_is_taken_up_before_the_old_one_is_revoked(folder: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    server = old.issue_cert("127.0.0.1")
    old.cert_pem.write_to_path(str(folder / "server-ca.pem"))
    clients = folder / "clients-ca.pem"
    clients.write_bytes(old.cert_pem.bytes() + new.cert_pem.bytes())
    server.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    renewed(folder, old)
    for name in ("own.pem", "own.key"):
        (folder / f"watcher-{name}").write_bytes((folder / name).read_bytes())
    watcher = ["--cafile", f"{folder}/server-ca.pem", "--cert", f"{folder}/watcher-own.pem"]
    watcher += ["--key", f"{folder}/watcher-own.key"]
    tls = BrokerTls(clients, folder / "server.pem", folder / "server.key", wants_client=True)
    with mosquitto(tls=tls) as broker, libmodbus_server() as plc:
        files = f"{{ca: {folder}/server-ca.pem, certificate: {folder}/own.pem, key: {folder}/own.key}}"
        head = (
            head_yaml(broker).replace("mqtt://", "mqtts://").replace("devices:\n", f"    tls: {files}\ndevices:\n")
        )
        yaml = head + device("mill", plc.port, 9, interval="50ms")
        with subscriber(broker.port, arguments=watcher) as received, agent(folder, yaml) as one:
            until(lambda: len(received.on("/data")) > 5, "first readings")
            renewed(folder, new)
            until(lambda: sessions(one) == 2, "a second session")
            seen = len(received.on("/data"))
            until(lambda: len(received.on("/data")) > seen + 5, "readings in the second session")
            assert one.metrics()["edge_agent_connects_total"] == 1
            assert one.stop() == 0
            oracle = Oracle()
            settled(oracle, received, one)
            assert not oracle.missing(one.state)
            broker.stop()
            clients.write_bytes(new.cert_pem.bytes())
            broker.start()
            one.write(yaml)
            one.start()
            until(lambda: sessions(one) == 1, "a session with the new certificate alone")
        publish = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), *watcher, "-t", "x", "-m", "x"]
        assert subprocess.run(publish, capture_output=True, timeout=20, check=False).returncode != 0


def test_the_pages_take_up_a_new_token_and_certificate_in_the_connections_that_are_open(folder: Path) -> None:
    plant = Plant.build(folder / "pki")
    plant.issue("box", "127.0.0.1")
    secret, old, new = plant.path("token"), "the-old-token-of-this-test", "the-new-token-of-this-test"
    secret.write_text(old)
    for name in ("box.key", "token"):
        plant.path(name).chmod(0o600)
    files = f"token: !file {secret}, tls: {{certificate: {plant.path('box.pem')}, key: {plant.path('box.key')}}}"
    yaml = "gateway: {id: gw}\npublishers: []\ndevices: []\n"
    one = AgentProcess(folder, yaml, ops_keys=files)
    one.token, one.trusting = old, ssl.create_default_context(cafile=plant.path("ca.pem"))
    with started(one), closing(HTTPSConnection(one.ops, timeout=10, context=one.trusting)) as looking:
        looking.connect()
        socket_before = looking.sock
        assert (first := shown(one)) == serial(looking)
        assert asked(looking, old) == 200
        plant.issue("box", "127.0.0.1")
        done = reload(one)
        assert done.returncode == 0, done.stderr
        assert "setting\tops.tls\tchanged" in done.stdout
        assert shown(one) != first
        secret.write_text(new)
        assert one.process
        one.process.send_signal(signal.SIGHUP)
        until(lambda: asked(looking, old) == 401, "the old token is refused")
        assert asked(looking, new) == 200
        assert (looking.sock, serial(looking)) == (socket_before, first)
        one.token = new
        expires = one.metrics()["edge_agent_certificate_expires_timestamp_seconds"]
        assert expires > time.time()
        assert one.stop() == 0


def asked(looking: HTTPSConnection, token: str) -> int:
    looking.request("GET", "/status", headers={"Authorization": f"Bearer {token}"})
    with looking.getresponse() as response:
        response.read()
        return response.status


def serial(looking: HTTPSConnection) -> object:
    assert isinstance(looking.sock, ssl.SSLSocket)
    certificate = looking.sock.getpeercert()
    assert certificate
    return certificate["serialNumber"]


def shown(one: AgentProcess) -> object:
    """Return the number of the certificate that a new connection gets."""
    with closing(HTTPSConnection(one.ops, timeout=10, context=one.trusting)) as new:
        new.connect()
        return serial(new)


def sessions(one: AgentProcess) -> float:
    return one.metrics()["edge_agent_publisher_sessions_total"]


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
