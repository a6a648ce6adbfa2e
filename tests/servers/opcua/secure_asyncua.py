"""The server of the driver's own library, with certificates: a second opinion on security."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import SimpleRoleRuleset
from asyncua.server.user_managers import User, UserRole

from tests.servers.opcua_server import NAMESPACE, URI


class _Users:
    """Lets one name in with one password, and the anonymous."""

    def __init__(self, name: str, password: str) -> None:
        self._known = (name, password)

    def get_user(
        self, _session: Any, username: str | None = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        if isinstance(password, bytes):
            password = password.decode()
        is_known = username is None or (username, password) == self._known
        return User(role=UserRole.User, name=username or "anonymous") if is_known else None


@asynccontextmanager
async def secure_asyncua_server(certificate: Path, key: Path, user: str, password: str) -> AsyncIterator[str]:
    """Serve one variable, ``Feed``, over every policy that is not deprecated; yield the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(user_manager=_Users(user, password))
    await server.init()
    await server.set_application_uri(URI)
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    kinds = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
    server.set_security_policy(
        [ua.SecurityPolicyType.NoSecurity]
        + [ua.SecurityPolicyType[f"{kind}_{mode}"] for kind in kinds for mode in ("Sign", "SignAndEncrypt")],
        permission_ruleset=SimpleRoleRuleset(),
    )
    await server.load_certificate(str(certificate))
    await server.load_private_key(str(key), format="PEM")
    index = await server.register_namespace(NAMESPACE)
    await server.nodes.objects.add_variable(ua.NodeId("Feed", index), "Feed", 1.5)
    async with server:
        yield f"opc.tcp://127.0.0.1:{port}"
