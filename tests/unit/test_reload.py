import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.app import Agent
from edge_agent.config import load
from edge_agent.model import DeviceId
from edge_agent.registry import Registry
from edge_agent.reload import Reloader, _Request
from edge_agent.testing.eventually import eventually
from tests.servers.opcua.certificates import make_certificate

YAML = """
gateway: {id: gw}
publishers: []
devices: []
outbox: {directory: state}
ops: {http: "off", control_socket: c.sock}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # a short name for the socket
    (tmp_path / "agent.yaml").write_text(YAML)
    return Path("agent.yaml")


async def test_signals_that_come_together_are_one_reload_and_a_trial_that_waits_is_none(path: Path) -> None:
    agent = Agent(await asyncio.to_thread(load, path, Registry()))
    reloader = Reloader(agent, path)
    reloads = agent.metrics.reloads.labels("unchanged")._value
    async with asyncio.TaskGroup() as group:
        trial = group.create_task(reloader._act({"dry_run": True}))
        await asyncio.sleep(0)
        for _ in range(3):
            reloader.ask()
        tasks = [group.create_task(agent.run()), group.create_task(reloader.run())]
        assert (await trial)["result"] == "unchanged"  # type: ignore[index]
        await eventually(lambda: reloads.get() == 1)
        again = await reloader._act({})
        assert again["ok"] is True  # type: ignore[index]
        assert reloads.get() == 2
        reloader.ask()
        await eventually(lambda: reloads.get() == 3)
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def reloading(path: Path) -> AsyncIterator[Reloader]:
    agent = Agent(await asyncio.to_thread(load, path, Registry(), needs_device_files=False))
    reloader = Reloader(agent, path)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(agent.run()), group.create_task(reloader.run())]
        yield reloader
        for task in tasks:
            task.cancel()


MODBUS = "driver: modbus, host: 127.0.0.1, tls: {ca: own.pem, certificate: own.pem, key: own.key}"
OPC_UA = "driver: opcua, url: opc.tcp://127.0.0.1:1, security_policy: Basic256Sha256"
POINTS = {"modbus": "points: [{name: p, holding: 1, type: uint16}]", "opcua": "points: [{name: p, node: i=1}]"}


@pytest.mark.parametrize(
    ("driver", "written", "complaint"),
    [
        ("modbus", MODBUS, "own.pem and {}/own.key do not belong together"),
        ("opcua", f"{OPC_UA}, certificate: own.pem, private_key: own.key", "own.key is not the key of {}/own.pem"),
        ("opcua", f"{OPC_UA}, user_certificate: own.pem, user_private_key: own.key", "own.key is not the key of"),
        ("opcua", f"{OPC_UA}, trusted: own.key", "own.key is not a certificate"),
    ],
    ids=["modbus", "opcua-own", "opcua-user", "opcua-trusted"],
)
async def test_a_device_whose_files_cannot_be_used_is_not_taken_up(
    path: Path, tmp_path: Path, driver: str, written: str, complaint: str
) -> None:
    text = YAML.replace("devices: []", f"devices: [{{id: d, {written}, {POINTS[driver]}}}]")
    async with reloading(path) as reloader:
        put(path, text)
        missing = await reloader._act({})
        assert missing["result"] == "refused"  # type: ignore[index]
        for problem in missing["problems"]:  # type: ignore[index]
            assert problem["line"] == 4
            assert problem["message"].endswith(" does not exist")
        put_pair(tmp_path, certificate_key=1, key=2)
        (told,) = (await reloader._act({}))["problems"]  # type: ignore[index]
        assert complaint.format(tmp_path) in told["message"]
        assert reloader._agent.options.devices == ()
        put_pair(tmp_path, certificate_key=2, key=2)
        put(path, text.replace("trusted: own.key", "trusted: own.pem"))
        assert (await reloader._act({"dry_run": True}))["ok"] is True  # type: ignore[index]


async def test_a_device_without_its_files_is_in_the_way_of_a_reload_but_not_of_what_is_renewed(
    path: Path, tmp_path: Path
) -> None:
    own = "certificate: own.pem, private_key: own.key"
    devices = [f"{{id: {one}, {OPC_UA}, {own.replace('own', one)}, {POINTS['opcua']}}}" for one in ("own", "no")]
    put(path, YAML.replace("devices: []", f"devices: [{', '.join(devices)}]"))
    async with reloading(path) as reloader:
        await reloader._agent.ready.wait()
        put_pair(tmp_path, certificate_key=1, key=1)
        renewed: Any = await reloader._carry_out(_Request(is_renewal=True))
        assert (renewed["result"], renewed["devices"]["changed"]) == ("applied", ["own"])
        asked: Any = await reloader._act({})
        assert [one["message"] for one in asked["problems"]] == [
            f"{tmp_path / name} does not exist" for name in ("no.pem", "no.key")
        ]


OPC_UA_DEVICE = "{id: d, driver: opcua, url: opc.tcp://127.0.0.1:1, points: [{name: p, node: i=1}]}"


@pytest.mark.parametrize(
    ("before", "after", "how"),
    [
        ("id: d", "id: d, name: Lathe", "adjusted"),
        ("name: p", "name: p, description: oil", "adjusted"),
        ("name: p", "name: p, deadband: {absolute: 1}", "changed"),
        ("name: p", "name: p, mode: poll, deadband: {absolute: 1}", "changed"),
    ],
)
async def test_what_the_deadband_swallowed_of_a_point_that_is_reported_takes_a_new_session(
    path: Path, before: str, after: str, how: str
) -> None:
    text = YAML.replace("devices: []", f"devices: [{OPC_UA_DEVICE}]")
    put(path, text)
    async with reloading(path) as reloader:
        put(path, text.replace(before, after))
        answer: Any = await reloader._act({"dry_run": True})
        assert answer["devices"] == {"added": [], "removed": [], "changed": [], "adjusted": [], "unchanged": 0} | {
            how: ["d"]
        }
    text = text.replace("name: p", "name: p, mode: poll")
    put(path, text)
    async with reloading(path) as reloader:
        put(path, text.replace("mode: poll", "mode: poll, deadband: {absolute: 1}"))
        answer = await reloader._act({"dry_run": True})
        assert answer["devices"]["adjusted"] == ["d"]


async def test_a_device_that_is_adjusted_keeps_its_task_and_begins_anew_where_it_was_given_up(path: Path) -> None:
    text = YAML.replace("devices: []", f"devices: [{OPC_UA_DEVICE}]")
    put(path, text)
    async with reloading(path) as reloader:
        await reloader._agent.ready.wait()
        fleet = reloader._agent._fleet
        assert fleet is not None
        device = DeviceId("d")
        task = fleet[device].task
        for name, is_same in (("Lathe", True), ("Mill", False)):
            put(path, text.replace("id: d", f"id: d, name: {name}"))
            answer: Any = await reloader._act({})
            assert (answer["result"], answer["devices"]["adjusted"]) == ("applied", ["d"])
            assert fleet[device].options.name == name
            assert (fleet[device].task is task) is is_same
            assert not fleet[device].task.done()
            task.cancel()
            await eventually(task.done)


def put(path: Path, text: str) -> None:
    path.write_text(text)


def put_pair(folder: Path, *, certificate_key: int, key: int) -> None:
    """Write ``own.pem`` and ``own.key``, which fit where the numbers are the same."""
    make_certificate("urn:a", key=certificate_key).write(folder, "own")
    make_certificate("urn:a", key=key).write(folder / "other", "own")
    (folder / "other" / "own.key").replace(folder / "own.key")
    (folder / "own.key").chmod(0o600)
