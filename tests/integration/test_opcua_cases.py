"""Every folder in tests/cases/opcua: against node-opcua and asyncua's server, subscribed to and polled.

A case is three files:

- ``config.yaml``: a whole configuration; the devices are at opc.tcp://127.0.0.1:4840, which becomes where the
  server is. Without a ``mode:`` in it, they are subscribed to and polled in turn, and give the same.
- ``server.yaml``: what the one server of all cases holds: ``variables`` (``nsu=http://example.com/cnc;s=<name>``:
  type, value, status, time), ``filler`` (namespaces ahead of that one), ``limits`` (node-opcua alone).
- ``expected.yaml``: ``plan`` (lines of ``check --plan`` by device), ``readings`` (by device and point: a value,
  the name of a Bad status, or value ``v``, status ``q``, time ``t``), or ``problems`` (of the configuration).
"""

import asyncio
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.schedule import by_interval
from edge_agent.config import load
from edge_agent.errors import ConfigError
from edge_agent.model import is_bad
from edge_agent.model.quality import quality_name
from edge_agent.registry import Registry
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua.config import OpcUaDevice
from tests.servers.opcua.described_asyncua import described_asyncua_server
from tests.servers.opcua.reading import Reading, connect, readings, reporting
from tests.servers.opcua_server import opcua_server

FOLDER = Path(__file__).parents[1] / "cases" / "opcua"
CASES = sorted(path.parent for path in FOLDER.glob("*/config.yaml"))
SERVED = [case for case in CASES if (case / "server.yaml").exists()]
URL = "opc.tcp://127.0.0.1:4840"


def _folder_name(case: Path) -> str:
    return case.name


def _read(case: Path, name: str) -> Any:
    return yaml.safe_load((case / name).read_text())


def _as_json(about: Mapping[str, Any]) -> Any:
    """Return a value as ``described.js`` takes it: 64-bit numbers in two halves, NaN as a text."""
    content = about["value"]
    if about["type"] in {"Int64", "UInt64"}:
        return [content >> 32 & 0xFFFF_FFFF, content & 0xFFFF_FFFF]
    return str(content) if isinstance(content, float) and not math.isfinite(content) else content


def configured(case: Path, url: str, folder: Path, mode: str) -> tuple[DeviceOptions, ...]:
    text = (case / "config.yaml").read_text().replace(URL, url)
    if mode == "poll":
        text = text.replace(f"url: {url}", f"url: {url}\n    mode: poll")
    path = folder / "config.yaml"
    path.write_text(text)
    return tuple(load(path, Registry()).devices)


def held_by_all() -> dict[str, Any]:
    """Return what one server holds for all cases; their variables have different names."""
    variables: dict[str, Any] = {}
    filler, limits = 0, dict[str, int]()
    for case in SERVED:
        holds = _read(case, "server.yaml")
        assert not variables.keys() & holds["variables"].keys(), case
        variables |= holds["variables"]
        filler += holds.get("filler", 0)
        limits |= holds.get("limits", {})
    return {"variables": variables, "filler": filler, "limits": limits}


@pytest.fixture(scope="module")
def node_opcua() -> Iterator[str]:
    holds = held_by_all()
    described = {name: {**about, "value": _as_json(about)} for name, about in holds["variables"].items()}
    with opcua_server(described=described, filler=holds["filler"], limits=holds["limits"], floats=0) as server:
        yield server.url


@pytest.mark.parametrize("case", SERVED, ids=_folder_name)
async def test_case_against_node_opcua(case: Path, node_opcua: str, tmp_path: Path) -> None:
    await check(case, node_opcua, tmp_path)


async def test_all_cases_against_asyncuas_server(tmp_path: Path) -> None:
    holds = held_by_all()
    async with described_asyncua_server(holds["variables"], holds["filler"]) as url:
        for case in SERVED:
            await check(case, url, tmp_path)


async def check(case: Path, url: str, folder: Path) -> None:
    expected = _read(case, "expected.yaml")
    modes = ["as written"] if "mode:" in (case / "config.yaml").read_text() else ["subscribe", "poll"]
    for mode in modes:
        for options in await asyncio.to_thread(configured, case, url, folder, mode):
            device = options.spec.create(FakeContext(options.id), options.config.unpack())
            groups = by_interval(device.polled, options.intervals_s)
            plan = [str(request) for _, points in groups for request in device.plan(points, frozenset())]
            if mode == "as written":
                assert plan == expected["plan"][options.id]
            got, wanted = await collect(options), expected["readings"][options.id]
            assert {name: _shown(got[name], wanted.get(name)) for name in got} == wanted, (case.name, mode)


@pytest.mark.parametrize("case", [case for case in CASES if case not in SERVED], ids=_folder_name)
def test_case_of_a_configuration_that_is_refused(case: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(case, URL, tmp_path, "as written")
    for problem, part in zip(caught.value.problems, _read(case, "expected.yaml")["problems"], strict=True):
        assert part in str(problem)


async def collect(options: DeviceOptions) -> dict[str, Reading]:
    """Return the latest reading of each point, read or reported."""
    config = options.config.unpack()
    assert isinstance(config, OpcUaDevice)
    device = options.spec.create(FakeContext(options.id), config)
    got: dict[str, Reading] = {}
    if device.reported:
        async with reporting(device, config) as collected:
            got |= await collected.all_of(len(device.reported))
    if device.polled:
        session = await connect(device)
        for request in device.plan(device.polled, frozenset()):
            async with asyncio.timeout(10):
                got.update(readings(await session.read(request), config))
        await session.close()
    return got


def _shown(reading: Reading, wanted: Any) -> Any:
    """Return a reading as ``expected.yaml`` has it."""
    if isinstance(wanted, dict):
        time = datetime.fromtimestamp(reading.time_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")
        shown = {"v": reading.value, "q": quality_name(reading.status), "t": time}
        return {key: shown[key] for key in wanted}
    return quality_name(reading.status) if is_bad(reading.status) else reading.value
