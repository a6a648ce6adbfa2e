"""The server of the driver's own library, with certificates, in a process of its own: a second opinion."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import SimpleRoleRuleset
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.uacrypto import load_certificate
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from asyncua.server.internal_server import InternalServer
from asyncua.server.user_managers import User, UserRole
from cryptography.hazmat.primitives.serialization import Encoding

from tests.servers.opcua_server import NAMESPACE, ROOT, URI

_KINDS = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
_POLICIES = [ua.SecurityPolicyType.NoSecurity] + [
    ua.SecurityPolicyType[f"{kind}_{mode}"] for kind in _KINDS for mode in ("Sign", "SignAndEncrypt")
]
_TOKENS = {
    "anonymous": ua.AnonymousIdentityToken,
    "user": ua.UserNameIdentityToken,
    "certificate": ua.X509IdentityToken,
}


@dataclass(frozen=True)
class Secure:
    """How one server is set up.

    Attributes:
        certificate: the file that it shows.
        key: file of its key.
        trusted: a folder with the certificates of the clients that it lets in.
        users: name to password.
        user_certificates: files of the certificates that users may log in with.
        identities: what it offers to log in with: ``anonymous``, ``user``, ``certificate``.
    """

    certificate: str
    key: str
    trusted: str
    users: Mapping[str, str]
    user_certificates: Sequence[str] = ()
    identities: Sequence[str] = ("anonymous", "user", "certificate")


class SecureServers:
    """The servers of one process. All methods block for milliseconds.

    Attributes:
        urls: by name.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.urls: dict[str, str] = self._next()

    def sessions(self) -> dict[str, int]:
        """Return by name how many sessions clients have asked for so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return self._next()

    def _next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the servers did not start"
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def secure_asyncua_servers(servers: Mapping[str, Secure], log: Path) -> Iterator[SecureServers]:
    """Serve one variable, ``Feed``, on each over every policy that is not deprecated, while the block runs."""
    described = json.dumps({name: vars(one) for name, one in servers.items()}, default=list)
    with (
        log.open("ab") as told,
        subprocess.Popen(
            [sys.executable, "-m", __name__, described],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
        ) as process,
    ):
        try:
            yield SecureServers(process)
        finally:
            process.kill()


class _Users:
    """Lets in who has the right password, and who has none: certificates are not its business."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    def get_user(
        self, _server: Any, username: str | None = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        # Where nobody logs in, the certificate is that of the client's application.
        is_known = username is None or (username in self._users and self._users[username] == password)
        return User(role=UserRole.User, name=username or "somebody") if is_known else None


class _SecureServer(InternalServer):  # type: ignore[misc]  # asyncua is not typed
    """Counts the sessions that clients ask for, and knows the users' certificates."""

    sessions = 0

    def __init__(self, users: Mapping[str, str], user_certificates: Sequence[bytes]) -> None:
        super().__init__(user_manager=_Users(users))
        self._user_certificates = user_certificates

    def create_session(self, *args: Any, external: bool = False, **keys: Any) -> Any:
        self.sessions += external
        return super().create_session(*args, external=external, **keys)

    def verify_x509_token(self, *args: Any) -> bytes:
        shown: bytes = super().verify_x509_token(*args)
        if shown not in self._user_certificates:
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied)
        return shown


async def _start(secure: Secure) -> tuple[Server, _SecureServer]:
    users = [(await load_certificate(one)).public_bytes(Encoding.DER) for one in secure.user_certificates]
    inside = _SecureServer(secure.users, users)
    server = Server(iserver=inside)
    await server.init()
    await server.set_application_uri(URI)
    server.set_endpoint("opc.tcp://127.0.0.1:0")
    server.set_security_policy(_POLICIES, permission_ruleset=SimpleRoleRuleset())
    server.set_identity_tokens([_TOKENS[one] for one in secure.identities])
    clients = TrustStore([Path(secure.trusted)], [])
    await clients.load()
    options = CertificateValidatorOptions
    server.set_certificate_validator(
        CertificateValidator(options.BASIC_VALIDATION | options.TRUSTED | options.PEER_CLIENT, clients)
    )
    await server.load_certificate(secure.certificate)
    await server.load_private_key(secure.key, format="PEM")
    index = await server.register_namespace(NAMESPACE)
    await server.nodes.objects.add_variable(ua.NodeId("Feed", index), "Feed", 1.5)
    return server, inside


async def _serve(described: Mapping[str, Mapping[str, Any]]) -> None:
    async with AsyncExitStack() as stack:
        inside: dict[str, _SecureServer] = {}
        urls: dict[str, str] = {}
        for name, about in described.items():
            server, inside[name] = await _start(Secure(**about))
            await stack.enter_async_context(server)
            port = server.bserver._server.sockets[0].getsockname()[1]
            urls[name] = f"opc.tcp://127.0.0.1:{port}"
        print(json.dumps(urls), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps({name: one.sessions for name, one in inside.items()}), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
