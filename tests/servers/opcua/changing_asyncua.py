"""The server of the driver's own library in a process of its own, to be killed, stopped and restarted.

Run with what ``server.js`` takes, as far as it is here: the same options, the same line when it is ready, the same
orders.
"""

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.server.internal_session import InternalSession

from tests.servers.opcua_server import NAMESPACE, URI


async def _close_sessions(server: Server, _order: dict[str, Any]) -> dict[str, Any]:
    sessions = [it.processor.session for it in server.bserver.clients if it.processor.session is not None]
    for session in sessions:
        await session.close_session(delete_subs=True)
    return {"closed": len(sessions)}


async def _sessions(_server: Server, _order: dict[str, Any]) -> dict[str, Any]:
    return {"now": InternalSession._current_connections}


async def _add(server: Server, order: dict[str, Any]) -> dict[str, Any]:
    node_id = ua.NodeId(order["name"], await server.get_namespace_index(NAMESPACE))
    await server.nodes.objects.add_variable(node_id, order["name"], order["value"], ua.VariantType.Double)
    return {}


async def _remove(server: Server, order: dict[str, Any]) -> dict[str, Any]:
    node_id = ua.NodeId(order["name"], await server.get_namespace_index(NAMESPACE))
    await server.delete_nodes([server.get_node(node_id)])
    return {}


_ORDERS = {"closeSessions": _close_sessions, "sessions": _sessions, "add": _add, "remove": _remove}


async def _prepare(options: dict[str, Any]) -> tuple[Server, list[Any]]:
    """Return a server that is ready to start, and its variables that change."""
    server = Server()
    await server.init()
    await server.set_application_uri(URI)
    server.set_endpoint(f"opc.tcp://127.0.0.1:{options.get('port', 0)}")
    policies = [ua.SecurityPolicyType.NoSecurity]
    if options.get("security"):
        policies.append(ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt)
        await server.load_certificate(Path(options["certificate"]))
        await server.load_private_key(Path(options["key"]), format="pem")
    server.set_security_policy(policies)
    for i in range(options.get("filler", 0)):
        await server.register_namespace(f"http://example.com/filler/{i}")
    index = await server.register_namespace(NAMESPACE)

    async def add(name: str, value: float, kind: ua.VariantType) -> Any:
        return await server.nodes.objects.add_variable(ua.NodeId(name, index), name, value, kind)

    await add("Feed", 1.5, ua.VariantType.Float)
    for i in range(options.get("floats", 0)):
        await add(f"Float.{i:03}", i + 0.5, ua.VariantType.Double)
    return server, [await add(name, 0, ua.VariantType.Int32) for name in ("Counter", "Sine")]


async def _serve(options: dict[str, Any]) -> None:
    server, changing = await _prepare(options)

    async def change() -> None:
        for number in itertools.count(1):
            for variable in changing:
                await variable.write_value(number, ua.VariantType.Int32)
            await asyncio.sleep(0.05)

    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with server, asyncio.TaskGroup() as group:
        changer = group.create_task(change())
        print(json.dumps({"port": server.bserver._server.sockets[0].getsockname()[1]}), flush=True)
        while line := await orders.readline():
            order = json.loads(line)
            print(json.dumps(await _ORDERS[order["do"]](server, order)), flush=True)
        changer.cancel()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
