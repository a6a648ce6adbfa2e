"""The publisher against Mosquitto, watched by mosquitto_sub."""

import asyncio
import json
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trustme

from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId, PublisherId
from edge_agent.publish.options import TlsOptions
from edge_agent.testing.eventually import eventually
from tests.servers.memory_outbox import MemoryOutbox
from tests.servers.mosquitto import BrokerTls, mosquitto
from tests.servers.publishing import options_for, publishing
from tests.servers.subscriber import Subscriber, subscriber

pytestmark = pytest.mark.slow
SCHEMAS = files("edge_agent.publish") / "schema"
CLOUD = PublisherId("cloud")


class Certificates:
    """An authority, a broker's certificate and a client's, in files."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.ca = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.broker = self._issue(directory, authority, "127.0.0.1", "localhost")
        self.client = self._issue(directory, authority, "gw-01")

    def _issue(self, directory: Path, authority: trustme.CA, *names: str) -> tuple[Path, Path]:
        issued = authority.issue_cert(*names)
        paths = directory / f"{names[0]}.pem", directory / f"{names[0]}.key"
        issued.cert_chain_pems[0].write_to_path(str(paths[0]))
        issued.private_key_pem.write_to_path(str(paths[1]))
        return paths

    def broker_tls(self, *, wants_client: bool = False) -> BrokerTls:
        return BrokerTls(self.ca, *self.broker, wants_client)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def other_certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("other"))


def row_numbers(received: Subscriber, device: str = "press-01") -> list[int]:
    return [row["row"] for message in received.on(f"{device}/data") for row in message.json()["rows"]]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("security", ["plain", "password", "tls", "mtls"])
async def test_rows_arrive_and_are_confirmed(version: int, security: str, certificates: Certificates) -> None:
    broker: dict[str, Any] = {}
    own: dict[str, Any] = {"protocol_version": version}
    watcher: list[str] = []
    if security == "password":
        broker["passwords"] = {"edge": "s3cret", "watcher": "w"}
        own |= {"username": "edge", "password": "s3cret"}
        watcher = ["-u", "watcher", "-P", "w"]
    if security in {"tls", "mtls"}:
        broker["tls"] = certificates.broker_tls(wants_client=security == "mtls")
        watcher = ["--cafile", str(certificates.ca)]
        own |= {"use_tls": True, "tls": TlsOptions(ca=certificates.ca)}
    if security == "mtls":
        own["tls"] = TlsOptions(certificates.ca, *certificates.client)
        watcher += ["--cert", str(certificates.client[0]), "--key", str(certificates.client[1])]
    outbox = MemoryOutbox()
    outbox.add(1, 3, values=(1.5, 2.5))
    with mosquitto(**broker) as server, subscriber(server.port, arguments=watcher) as received:
        async with publishing(options_for(server.port, **own), outbox):
            await eventually(lambda: outbox.confirmed.get(CLOUD) == [1, 2, 3])
            outbox.add(4, 2)
            await eventually(lambda: row_numbers(received) == [1, 2, 3, 4, 5])
        await eventually(lambda: len(received.on("status")) == 2)
    rows = [row for message in received.on("data") for row in message.json()["rows"]]
    assert [row["historical"] for row in rows] == [True, True, True, False, False]
    assert rows[0]["points"] == {"p0": {"v": [1.5], "dt_us": [0]}, "p1": {"v": [2.5], "dt_us": [0]}}
    assert [message.json()["state"] for message in received.on("status")] == ["online", "offline"]
    for message in received.messages:
        schema = message.json()["schema"].replace("/", "-") + ".json"
        jsonschema.validate(message.json(), json.loads((SCHEMAS / schema).read_text()))


@pytest.mark.parametrize("version", [4, 5])
async def test_a_wrong_password_says_what_to_check_and_the_right_one_is_taken_later(version: int) -> None:
    outbox = MemoryOutbox()
    with mosquitto(passwords={"edge": "s3cret"}) as server:
        own: dict[str, Any] = {"protocol_version": version, "username": "edge", "password": "wrong"}
        async with publishing(options_for(server.port, **own), outbox) as publisher:
            await eventually(lambda: publisher.summary()["last_error"])
            assert "check" in str(publisher.summary()["last_error"])
            assert not publisher.summary()["connected"]


async def test_a_broker_with_a_foreign_certificate_is_refused(
    certificates: Certificates, other_certificates: Certificates
) -> None:
    outbox = MemoryOutbox()
    outbox.add(1, 1)
    with mosquitto(tls=certificates.broker_tls()) as server:
        own = options_for(server.port, use_tls=True, tls=TlsOptions(ca=other_certificates.ca))
        async with publishing(own, outbox) as publisher:
            await eventually(lambda: "not trusted" in str(publisher.summary()["last_error"]))
        assert "CONNECT" not in server.log.read_text()
    assert outbox.confirmed == {}


async def test_insecure_takes_any_certificate_and_says_so(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    outbox, metrics = MemoryOutbox(), Metrics()
    outbox.add(1, 1)
    with mosquitto(tls=certificates.broker_tls()) as server:
        own = options_for(server.port, use_tls=True, tls=TlsOptions(verify=False))
        async with publishing(own, outbox, metrics=metrics):
            await eventually(lambda: outbox.confirmed.get(CLOUD) == [1])
    assert metrics.insecure.labels("cloud")._value.get() == 1
    assert "the broker's certificate is not verified" in caplog.messages


async def test_a_missing_client_certificate_is_named_as_the_likely_cause(certificates: Certificates) -> None:
    outbox = MemoryOutbox()
    with mosquitto(tls=certificates.broker_tls(wants_client=True)) as server:
        own = options_for(server.port, use_tls=True, tls=TlsOptions(ca=certificates.ca))
        async with publishing(own, outbox) as publisher:
            await eventually(lambda: "certificate" in str(publisher.summary()["last_error"]))


async def test_a_broker_that_is_stopped_and_started_costs_nothing_and_keeps_the_order() -> None:
    outbox, metrics = MemoryOutbox(), Metrics()
    with mosquitto() as server:
        async with publishing(options_for(server.port), outbox, metrics=metrics) as publisher:
            with subscriber(server.port) as before:
                outbox.add(1, 50)
                await eventually(lambda: row_numbers(before)[-1:] == [50])
                await asyncio.to_thread(server.kill)
            outbox.add(51, 50)
            await eventually(lambda: not publisher.summary()["connected"])
            outbox.add(101, 50)
            server.start()  # and subscribe, before the publisher has a turn
            with subscriber(server.port) as after:
                outbox.add(151, 50)
                await eventually(lambda: sorted(set(outbox.confirmed.get(CLOUD, []))) == list(range(1, 201)))
                await eventually(lambda: 200 in row_numbers(after))
            rows = [row for message in after.on("data") for row in message.json()["rows"]]
    for historical in (True, False):
        numbers = [row["row"] for row in rows if row["historical"] is historical]
        assert numbers == sorted(numbers)
    assert metrics.session_losses.labels("cloud")._value.get() >= 1
    assert metrics.sessions.labels("cloud")._value.get() == 2


async def test_peer_defect_15_a_broker_that_was_off_for_long_is_found_again_by_itself() -> None:
    outbox = MemoryOutbox()
    with mosquitto(is_started=False) as server:
        own = options_for(server.port, retry_max_s=0.001)
        async with publishing(own, outbox) as publisher:
            outbox.add(1, 1)
            await eventually(lambda: publisher._standing._session_log.failures >= 200)
            assert "is the broker running" in str(publisher.summary()["last_error"])
            await asyncio.to_thread(server.start)
            await eventually(lambda: outbox.confirmed.get(CLOUD) == [1])


async def test_the_next_server_of_the_list_is_used() -> None:
    outbox = MemoryOutbox()
    outbox.add(1, 1)
    with mosquitto(is_started=False) as dead, mosquitto() as server:
        async with publishing(options_for(dead.port, server.port), outbox) as publisher:
            await eventually(lambda: outbox.confirmed.get(CLOUD) == [1])
            assert publisher.summary()["server"] == f"127.0.0.1:{server.port}"


async def test_a_dead_publisher_does_not_delay_the_other() -> None:
    outbox = MemoryOutbox()
    with mosquitto(is_started=False) as dead, mosquitto() as server:
        other = options_for(dead.port, id=PublisherId("dead"))
        async with publishing(other, outbox) as lame, publishing(options_for(server.port), outbox):
            await eventually(lambda: lame.summary()["last_error"])
            outbox.add(1, 20)
            await eventually(lambda: outbox.confirmed.get(CLOUD) == list(range(1, 21)))
        assert not outbox.confirmed.get(PublisherId("dead"))


async def retained_state(port: int) -> str:
    with subscriber(port, topic="edge/v1/gw-01/status") as late:
        await eventually(lambda: late.messages)
        assert late.messages[0].is_retained
        return str(late.messages[0].json()["state"])


async def test_the_retained_status_is_online_while_it_runs_and_offline_after_an_orderly_stop() -> None:
    with mosquitto() as server, subscriber(server.port) as received:
        async with publishing(options_for(server.port), MemoryOutbox()):
            await eventually(lambda: received.on("status"))
            assert await retained_state(server.port) == "online"
        assert await retained_state(server.port) == "offline"
        assert "Received DISCONNECT from gw-01" in server.log.read_text()
        assert len(received.on("status")) == 2, "and no will"


SCRIPT = """
import asyncio, sys
from tests.servers.memory_outbox import MemoryOutbox
from tests.servers.publishing import options_for, publishing

async def main():
    async with publishing(options_for(int(sys.argv[1])), MemoryOutbox()):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_will_says_offline_when_the_process_is_killed() -> None:
    with mosquitto() as server, subscriber(server.port, topic="edge/+/+/status") as received:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(server.port)])  # noqa: ASYNC220 - returns at once
        try:
            await eventually(lambda: len(received.messages) == 1)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        await eventually(lambda: len(received.messages) == 2)
        online, offline = (message.json() for message in received.messages)
        assert (online["state"], offline["state"]) == ("online", "offline")
        assert offline["t"] == online["t"], "the will tells the session's beginning"
        assert await retained_state(server.port) == "offline"


class FakeCodes:
    """Codes that remember when they were frozen."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def gateway_code(self) -> str:
        return self._once_frozen("88.1.1/GW.gw-01")

    def device_code(self, device: DeviceId) -> str | None:
        return self._once_frozen(f"88.1.1/EQ.{device}")

    def directory(self, now: str) -> dict[str, object]:
        return {"schema": "edge.id.v1", "ts": self._once_frozen(now)}

    async def freeze(self) -> None:
        self.calls.append("freeze")

    def _once_frozen(self, text: str) -> str:
        assert self.calls, "a code was asked for before it was final"
        return text


async def test_codes_are_final_before_they_are_shown_and_the_directory_is_retained() -> None:
    outbox, codes = MemoryOutbox(), FakeCodes()
    outbox.add(1, 1)
    with mosquitto() as server, subscriber(server.port) as received:
        async with publishing(options_for(server.port), outbox, codes=codes):
            await eventually(lambda: outbox.confirmed.get(CLOUD) == [1])
            await eventually(lambda: received.on("data"))
        with subscriber(server.port, topic="edge/+/+/directory") as late:
            await eventually(lambda: late.messages)
            assert late.messages[0].is_retained
    topics = [message.topic.rsplit("/", 1)[1] for message in received.messages]
    assert topics.index("status") < topics.index("directory") < topics.index("data")
    assert received.on("data")[0].json()["code"] == "88.1.1/EQ.press-01"
    assert received.on("status")[0].json()["code"] == "88.1.1/GW.gw-01"
    assert codes.calls == ["freeze"]


async def test_peer_defect_09_a_refused_publish_is_not_taken_for_written() -> None:
    """Mosquitto refuses a topic by its access rules (PUBACK 0x87); once they allow it, the rows arrive."""
    outbox, metrics = MemoryOutbox(), Metrics()
    rules = "topic readwrite edge/v1/gw-01/{}/#\n"
    allowed = "".join(rules.format(name) for name in ("status", "health", "good")) + "topic read #\n"
    with mosquitto(acl=allowed) as server, subscriber(server.port) as received:
        async with publishing(options_for(server.port), outbox, metrics=metrics) as publisher:
            outbox.add(1, 30, "bad")
            outbox.add(31, 5, "good")
            await eventually(lambda: sorted(outbox.confirmed.get(CLOUD, [])) == list(range(31, 36)))
            await eventually(lambda: metrics.refused.labels("cloud")._value.get() >= 3, what="tried again")
            assert metrics.acknowledged.labels("cloud")._value.get() == 5
            assert publisher.summary()["connected"]
            (server.directory / "acl").write_text(allowed + rules.format("bad"))
            server.reload()
            outbox.add(36, 5, "bad")
            await eventually(lambda: sorted(set(outbox.confirmed.get(CLOUD, []))) == list(range(1, 41)))
        await eventually(lambda: sorted(set(row_numbers(received, "bad"))) == [*range(1, 31), *range(36, 41)])
