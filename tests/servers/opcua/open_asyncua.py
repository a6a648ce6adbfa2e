"""The server of the driver's own library, in the loop of the test, open to everybody; tests add what it serves."""

from asyncua import Server, ua

from tests.servers.opcua_server import NAMESPACE
from tests.servers.ports import free_port


async def open_asyncua(server: Server | None = None, url: str = "", filler: int = 0) -> tuple[Server, str, int]:
    """Return a server that listens while it is entered, where that is, and the index of ``NAMESPACE``.

    Args:
        server: what is set up; default: a new one.
        url: where it is to listen; default: a free port.
        filler: namespaces registered ahead.
    """
    server, url = server or Server(), url or f"opc.tcp://127.0.0.1:{free_port()}"
    await server.init()
    server.set_endpoint(url)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    for number in range(filler):
        await server.register_namespace(f"http://example.com/filler/{number}")
    return server, url, await server.register_namespace(NAMESPACE)
