"""Renewal: new certificates, keys, passwords and tokens are taken up by the agent that runs."""

import signal
import ssl
import subprocess
import time
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

import pytest
import trustme

from tests.e2e.oracle import Oracle
from tests.e2e.plant import device, head_yaml, reload, settled, started, until
from tests.servers.agent import AgentProcess, agent
from tests.servers.modbus_server import libmodbus_server
from tests.servers.modbus_tls import Plant
from tests.servers.mosquitto import BrokerTls, mosquitto
from tests.servers.subscriber import subscriber

pytestmark = pytest.mark.slow


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
