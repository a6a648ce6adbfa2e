"""The pages take up another certificate and another token while they are being looked at."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from edge_agent import reload
from edge_agent.app import Agent
from edge_agent.config import load
from edge_agent.ops.gate import COOKIE
from edge_agent.registry import Registry
from edge_agent.reload import Reloader
from edge_agent.testing.eventually import eventually
from tests.servers.modbus_tls import Plant

OLD, NEW = "the-old-token-of-this-test", "the-new-token-of-this-test"
EXPIRES = "edge_agent_certificate_expires_timestamp_seconds"
YAML = """
gateway: {id: gw}
publishers: []
devices: []
outbox: {directory: state}
ops: {http: "127.0.0.1:0", control_socket: c.sock, token: !file token, tls: {certificate: box.pem, key: box.key}}
"""


@dataclass
class Connection:
    """One of HTTP/1.1 over TLS that stays open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def serial(self) -> object:
        """Return the number of the certificate that the server showed."""
        return self.writer.get_extra_info("peercert")["serialNumber"]

    async def get(self, token: str = "", cookie: str = "") -> int:
        """Ask for ``/status`` and return the status code."""
        self.begin()
        return await self.end(f"Authorization: Bearer {token}" if token else f"Cookie: {COOKIE}={cookie}")

    def begin(self) -> None:
        """Send the first part of a request."""
        self.writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\n")

    async def end(self, header: str) -> int:
        """Send the rest, and return the status code of the answer."""
        self.writer.write(f"{header}\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        await self.reader.readexactly(int(fields["content-length"]))
        return int(head.split()[1])


class Box:
    """An agent that runs, its files, and those who look at its pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plant = Plant.build(folder)
        self.write()
        self.write_token(OLD)
        self.issue("box")

    async def start(self, group: asyncio.TaskGroup) -> list["asyncio.Task[Any]"]:
        options = await asyncio.to_thread(load, self.folder / "agent.yaml", Registry())
        self.agent = Agent(options)
        self.reloader = Reloader(self.agent, self.folder / "agent.yaml")
        self.trusting = await asyncio.to_thread(ssl.create_default_context, cafile=self.plant.path("ca.pem"))
        self.opened: list[asyncio.StreamWriter] = []
        tasks = [group.create_task(self.agent.run()), group.create_task(self.reloader.run())]
        await eventually(self.agent.ready.is_set)
        return tasks

    def write(self, text: str = YAML) -> None:
        (self.folder / "agent.yaml").write_text(text)

    def write_token(self, token: str, name: str = "token") -> None:
        """Replace the file whole."""
        (self.folder / "new").write_text(token)
        (self.folder / "new").chmod(0o600)
        (self.folder / "new").rename(self.folder / name)

    def issue(self, name: str) -> None:
        self.plant.issue(name, "127.0.0.1")
        self.plant.path(f"{name}.key").chmod(0o600)

    async def connect(self) -> Connection:
        assert self.agent._server
        assert self.agent._server.address
        made = await asyncio.open_connection(*self.agent._server.address, ssl=self.trusting)
        self.opened.append(made[1])
        return Connection(*made)

    async def serial(self) -> object:
        return (await self.connect()).serial

    async def reload(self) -> dict[str, Any]:
        """Do what ``edge-agent reload`` does."""
        answer = await self.reloader._act({})
        assert isinstance(answer, dict)
        return answer

    def ends(self, name: str) -> float | None:
        labels = {"device": "", "certificate": str(self.plant.path(name))}
        return self.agent.metrics.registry.get_sample_value(EXPIRES, labels)

    def reloads(self, result: str) -> float:
        count: float = self.agent.metrics.reloads.labels(result)._value.get()
        return count


@asynccontextmanager
async def box(folder: Path) -> AsyncIterator[Box]:
    one = await asyncio.to_thread(Box, folder)
    async with asyncio.TaskGroup() as group:
        tasks = await one.start(group)
        yield one
        for writer in one.opened:
            writer.close()
        for task in tasks:
            task.cancel()


async def test_a_reload_takes_up_a_renewed_pair_and_those_who_look_notice_nothing(folder: Path) -> None:
    async with box(folder) as one:
        looking = await one.connect()
        first, ends = looking.serial, one.ends("box.pem")
        assert await looking.get(OLD) == 200
        one.issue("box")
        assert await one.serial() == first  # nobody asked for it yet
        answer = await one.reload()
        assert (answer["result"], answer["settings"]) == ("applied", ["ops.tls"])
        assert await one.serial() != first
        assert await looking.get(OLD) == 200
        assert looking.serial == first
        assert ends
        assert one.ends("box.pem") == end_of(one.plant.path("box.pem"))
        assert (await one.reload())["result"] == "unchanged"


async def test_a_request_on_its_way_is_answered_across_the_reload(folder: Path) -> None:
    async with box(folder) as one:
        looking = await one.connect()
        looking.begin()
        await looking.writer.drain()
        one.issue("box")
        one.reloader.ask()  # what SIGHUP does
        await eventually(lambda: one.reloads("applied") == 1)
        assert await looking.end(f"Authorization: Bearer {OLD}") == 200


async def test_a_pair_that_does_not_fit_changes_nothing_and_is_told(folder: Path) -> None:
    async with box(folder) as one:
        first = await one.serial()
        one.issue("box")
        one.issue("other")
        await asyncio.to_thread(one.plant.path("other.key").replace, one.plant.path("box.key"))
        one.write_token(NEW)
        answer = await one.reload()
        assert answer["result"] == "refused"
        (problem,) = answer["problems"]
        assert problem["path"] == "ops.tls"
        assert "box.key" in problem["message"]
        assert "mismatch" in problem["message"].lower()
        assert await one.serial() == first
        looking = await one.connect()
        assert await looking.get(OLD) == 200
        assert await looking.get(NEW) == 401
        one.issue("box")
        assert (await one.reload())["settings"] == ["ops.token", "ops.tls"]
        assert await one.serial() != first


async def test_other_paths_are_taken_up_and_their_end_is_told(folder: Path) -> None:
    async with box(folder) as one:
        first = await one.serial()
        one.issue("hall")
        one.write(YAML.replace("box.pem", "hall.pem").replace("box.key", "hall.key"))
        trial = await one.reloader._act({"dry_run": True})
        assert trial["settings"] == ["ops.tls"]  # type: ignore[index]
        assert await one.serial() == first
        assert (await one.reload())["result"] == "applied"
        assert await one.serial() != first
        assert one.ends("box.pem") is None
        assert one.ends("hall.pem") == end_of(one.plant.path("hall.pem"))


async def test_with_a_new_token_the_old_one_and_its_cookie_are_refused(folder: Path) -> None:
    async with box(folder) as one:
        looking = await one.connect()
        assert one.agent._server
        gate = one.agent._server._gate
        cookie = gate._session(int(gate._now_s()) + 3600)
        assert [await looking.get(cookie=cookie), await looking.get(OLD)] == [200, 200]
        one.write_token(NEW, "other")
        one.write(YAML.replace("!file token", "!file other"))
        assert (await one.reload())["settings"] == ["ops.token"]
        assert [await looking.get(cookie=cookie), await looking.get(OLD)] == [401, 401]
        assert await looking.get(NEW) == 200


async def test_files_that_were_replaced_are_taken_up_without_being_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "LOOK_EVERY_S", 0.01)
    async with box(folder) as one:
        looking = await one.connect()
        first = looking.serial
        one.write("broken: [")  # nobody asked for that
        one.write_token(NEW)
        await eventually(lambda: one.reloads("applied") == 1)
        assert [await looking.get(OLD), await looking.get(NEW)] == [401, 200]
        one.issue("box")
        await eventually(lambda: one.reloads("applied") == 2)
        assert await one.serial() != first
    entries = map(json.loads, (folder / "state" / "audit" / "audit.jsonl").read_text().splitlines())
    renewed = [entry["about"] for entry in entries if entry["act"] == "credentials.renewed"]
    assert renewed == [{"settings": ["ops.token"]}, {"settings": ["ops.tls"]}]


async def test_from_https_to_http_it_takes_a_restart(folder: Path) -> None:
    async with box(folder) as one:
        one.write(YAML.replace(", tls: {certificate: box.pem, key: box.key}", ""))
        answer = await one.reload()
        assert answer["result"] == "refused"
        assert "ops.tls: cannot change while the agent runs" in answer["problems"][0]["message"]
        assert await (await one.connect()).get(OLD) == 200


def end_of(certificate: Path) -> float:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
