"""Browsing an OPC UA server for ``edge-agent browse``; loaded by that command alone."""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from edge_agent.browsing import BrowseEnd, BrowserSpec, Browsing, FoundPoint
from edge_agent.driver import Context
from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.browse import sinumerik
from edge_agent_opcua.browse.machine_tool import MACHINES, is_identity, is_known, recognise
from edge_agent_opcua.browse.walk import NoStartError, Walk
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.connection import hang_up, open_connection
from edge_agent_opcua.names import Names
from edge_agent_opcua.node_id import parse_node_id


def _device(address: str) -> OpcUaDevice:
    url = address if "://" in address else f"opc.tcp://{address}"
    current_time = {"name": "time", "node": "i=2258"}
    section = {"id": "browse", "driver": "opcua", "url": url, "points": [current_time]}
    try:
        return OpcUaDevice.model_validate(section)
    except ValidationError as exc:
        raise ValueError(exc.errors()[0]["msg"].removeprefix("Value error, ")) from exc


async def _browse(context: Context, config: OpcUaDevice, browsing: Browsing) -> BrowseEnd:
    start = parse_node_id(browsing.start) if browsing.start else None
    client = await open_connection(config, context)
    try:
        if browsing.profile:
            return await _PROFILES[browsing.profile](client, config.url, browsing)
        return await Walk(client, config.url, browsing).run(start)
    finally:
        await hang_up(client)


async def _machine_tool(client: Any, url: str, browsing: Browsing) -> BrowseEnd:
    """Look through the machines of a server that follows OPC 40001-1, and tell what is known of them."""
    points: list[FoundPoint] = []
    known = replace(browsing, tell=points.extend, wants=is_known)
    walk = Walk(client, url, known, with_properties=True)
    try:
        end = await walk.run(MACHINES)
    except NoStartError as exc:
        raise DeviceUnavailableError(
            f"{url} has no machine after OPC 40001-1 or 40501-1 (namespace {MACHINES.namespace_uri}); browse it "
            "without --profile"
        ) from exc
    identities = [point for point in points if is_identity(point.path)]
    texts = await walk.texts([parse_node_id(str(point.keys["node"])) for point in identities])
    named = {point.path: text for point, text in zip(identities, texts, strict=True)}
    machines = recognise([point for point in points if browsing.wants(point.path)], named)
    names = Names()
    browsing.tell([replace(point, name=names.name((point.name,))) for point in machines.points])
    return BrowseEnd(end.is_complete, (*end.notes, *machines.notes), machines.labels)


async def _sinumerik(client: Any, url: str, browsing: Browsing) -> BrowseEnd:
    """Ask for the variables of a SINUMERIK control by their names."""
    points: list[FoundPoint] = []
    try:
        await Walk(client, url, replace(browsing, tell=points.extend)).look_up(sinumerik.ADDRESSES)
    except NoStartError as exc:
        raise DeviceUnavailableError(f"{url} is not the server of a SINUMERIK control: {exc}") from exc
    browsing.tell(
        [
            replace(point, name=sinumerik.NAMES[point.path], keys={**point.keys, **sinumerik.KEYS[point.path]})
            for point in points
        ]
    )
    missing = [name for path, name in sinumerik.NAMES.items() if path not in {point.path for point in points}]
    notes = (f"the control does not show, or --filter leaves out: {', '.join(missing)}",) if missing else ()
    return BrowseEnd(is_complete=True, notes=notes)


_PROFILES = {"machine-tool": _machine_tool, "sinumerik": _sinumerik}
BROWSER = BrowserSpec(device=_device, browse=_browse, profiles=tuple(_PROFILES))
