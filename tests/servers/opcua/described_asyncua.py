"""asyncua's server with variables as a description says; the same description as for ``described.js``."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from asyncua import ua

from tests.servers.opcua.open_asyncua import open_asyncua


@asynccontextmanager
async def described_asyncua_server(
    described: Mapping[str, Mapping[str, Any]], filler: int = 0
) -> AsyncIterator[str]:
    """Serve while the block runs; yield the address.

    Args:
        described: see ``described.js``; 64-bit numbers are plain ones.
        filler: namespaces registered ahead.
    """
    server, url, index = await open_asyncua(filler=filler)
    for name, about in described.items():
        kind, content = about["type"], about["value"]
        is_array = isinstance(content, list)
        values = [_of_type(kind, each) for each in (content if is_array else [content])]
        variant = ua.Variant(values if is_array else values[0], ua.VariantType[kind])
        node = await server.nodes.objects.add_variable(ua.NodeId(name, index), name, variant)
        time = _time(about["time"]) if "time" in about else datetime.now().astimezone()
        status = ua.StatusCode(getattr(ua.StatusCodes, about.get("status", "Good")))
        await node.write_value(ua.DataValue(variant, status, time))
    async with server:
        yield url


def _of_type(kind: str, content: Any) -> Any:
    if kind == "LocalizedText":
        return ua.LocalizedText(content)
    if kind == "ByteString":
        return bytes.fromhex(content)
    if kind == "DateTime":
        return _time(content)
    if kind == "Guid":
        return uuid.UUID(content)
    return float(content) if kind in {"Float", "Double"} else content


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
