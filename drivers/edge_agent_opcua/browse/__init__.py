"""Browsing an OPC UA server for ``edge-agent browse``; loaded by that command alone."""

from pydantic import ValidationError

from edge_agent.browsing import BrowseEnd, BrowserSpec, Browsing
from edge_agent.driver import Context
from edge_agent_opcua.browse.walk import Walk
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.connection import hang_up, open_connection
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
        return await Walk(client, config.url, browsing).run(start)
    finally:
        await hang_up(client)


BROWSER = BrowserSpec(device=_device, browse=_browse)
