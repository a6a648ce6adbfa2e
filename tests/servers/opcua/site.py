"""A gateway's folder of certificates, and who meets whom in the tests of security."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from edge_agent.driver import Device
from edge_agent.testing.fakes import FakeContext
from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.trust import TrustList
from tests.servers.opcua.certificates import Pair, make_certificate
from tests.servers.opcua.reading import make_device, points
from tests.servers.opcua_server import URI

CLIENT_URI = "urn:edge-agent:gw-01"
PASSWORD = "secret"  # noqa: S105 - the test server's
USER: dict[str, Any] = {"user": "op", "password": PASSWORD}
POLICIES = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
CHANNELS = list(product(POLICIES, ["Sign", "SignAndEncrypt"]))
OWN, USER_CERTIFICATE = make_certificate(CLIENT_URI, key=1), make_certificate("urn:example:operator", key=4)
SHOWN = make_certificate(URI, key=2)
EXPIRED = make_certificate(URI, key=2, days=(-30, -1))
FUTURE = make_certificate(URI, key=2, days=(2, 30))
RENAMED = make_certificate("urn:example:another", key=2)
AUTHORITY = make_certificate("urn:example:authority", key=5, is_authority=True)
ISSUED = make_certificate(URI, key=2, issuer=AUTHORITY)


@dataclass
class Site:
    """A folder for files and for the driver, and what the driver told the agent."""

    folder: Path

    def __post_init__(self) -> None:
        self.context = FakeContext("cnc", directory=self.folder / "drivers" / "opcua")
        self.trust = TrustList(self.context.directory)

    def device(self, url: str, own: Pair | None = OWN, **keys: Any) -> tuple[Device, OpcUaDevice]:
        """Return a secure device that has ``own``; None: the certificate that the driver makes."""
        written: dict[str, Any] = {"mode": "poll", "security_policy": "Basic256Sha256"}
        if own is not None:
            certificate, key = own.write(self.folder, "own")
            written |= {"certificate": str(certificate), "private_key": str(key)}
        return make_device(url, points(["Feed"]), context=self.context, **written | keys)

    def trusting(self, *shown: Pair) -> "Site":
        for pair in shown:
            certificate, _ = pair.write(self.folder, "shown")
            self.trust.add(str(certificate))
        return self


def identity(kind: str, folder: Path, certificate_of: Pair = USER_CERTIFICATE) -> dict[str, Any]:
    """Return the keys that a device logs in with: ``anonymous``, ``user`` or ``certificate``."""
    if kind == "certificate":
        certificate, key = certificate_of.write(folder, "user")
        return {"user_certificate": str(certificate), "user_private_key": str(key)}
    return USER if kind == "user" else {}
