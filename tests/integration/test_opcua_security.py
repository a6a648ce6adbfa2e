"""Who is let in, and whom we let near: certificates both ways, users, and what is said when it fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import DeviceUnavailableError
from edge_agent.testing.eventually import eventually
from edge_agent_opcua.session import OpcUaSession
from tests.servers.opcua.certificates import Pair, make_certificate
from tests.servers.opcua.reading import connect, make_device, points, read_once, reporting
from tests.servers.opcua_server import URI, OpcUaServer, opcua_server

CLIENT_URI = "urn:edge-agent:gw-01"
USER: dict[str, Any] = {"user": "op", "password": "secret"}


@dataclass
class Site:
    """A server that trusts ``own`` and shows ``shown``, and a folder for files."""

    server: OpcUaServer
    folder: Path
    own: Pair
    shown: Pair

    def secure(self, own: Pair | None = None, trusted: Pair | None = None, **keys: Any) -> dict[str, Any]:
        """Return the keys of a secure device, the files written."""
        certificate, key = (own or self.own).write(self.folder, "own")
        listed, _ = (trusted or self.shown).write(self.folder / "trusted", "listed")
        return {
            "mode": "poll",
            "security_policy": "Basic256Sha256",
            "certificate": str(certificate),
            "private_key": str(key),
            "trusted": str(listed.parent),
        } | keys


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    own, shown = make_certificate(CLIENT_URI, key=1), make_certificate(URI, key=2)
    certificate, key = shown.write(folder, "server")
    options = {"security": True, "certificate": str(certificate), "key": str(key), "anonymous": False}
    with opcua_server([own.der], **options, users={"op": "secret"}) as server:
        yield Site(server, folder, own, shown)


@pytest.fixture
def site(shared: Site, tmp_path: Path) -> Site:
    return Site(shared.server, tmp_path, shared.own, shared.shown)


@pytest.mark.parametrize("mode", ["SignAndEncrypt", "Sign"])
async def test_a_trusted_pair_talks(site: Site, mode: str) -> None:
    keys = site.secure(security_mode=mode, **USER) | {"insecure_password": mode == "Sign"}
    device, config = make_device(site.server.url, points(["Feed"]), **keys)
    assert (await read_once(device, config))["Feed"].value == 1.5


async def test_a_server_that_is_not_listed_is_refused_and_told_how_to_trust_it(site: Site) -> None:
    other = make_certificate(URI, key=3)
    device, _ = make_device(site.server.url, points(["Feed"]), **site.secure(trusted=other, **USER))
    with pytest.raises(DeviceUnavailableError, match=r"not trusted: .*SHA-256 [0-9a-f]{64}.*put the cert"):
        await connect(device)


async def test_a_client_that_the_server_does_not_trust_is_told_so(site: Site) -> None:
    stranger = make_certificate(CLIENT_URI, key=3)
    device, _ = make_device(site.server.url, points(["Feed"]), **site.secure(own=stranger, **USER))
    with pytest.raises(DeviceUnavailableError, match="our certificate"):
        await connect(device)


async def test_a_wrong_password_is_told_without_the_password(site: Site) -> None:
    keys = site.secure(user="op", password="Wrong-1!")  # noqa: S106 - the point of the test
    device, _ = make_device(site.server.url, points(["Feed"]), **keys)
    with pytest.raises(DeviceUnavailableError, match="check `user:` and `password:`") as told:
        await connect(device)
    assert "Wrong-1!" not in str(told.value)


async def test_an_anonymous_session_is_refused_where_the_server_wants_a_user(site: Site) -> None:
    device, _ = make_device(site.server.url, points(["Feed"]), **site.secure())
    with pytest.raises(DeviceUnavailableError, match="logging in"):
        await connect(device)


async def test_a_user_without_encryption_needs_the_explicit_word(site: Site) -> None:
    device, config = make_device(site.server.url, points(["Feed"]), mode="poll", insecure_password=True, **USER)
    assert (await read_once(device, config))["Feed"].value == 1.5


@pytest.mark.slow
async def test_readings_flow_across_renewals_of_the_channel(site: Site, tmp_path: Path) -> None:
    certificate, key = site.shown.write(tmp_path, "server")
    options = {"security": True, "certificate": str(certificate), "key": str(key)}
    with opcua_server([site.own.der], **options, tokenLifetime=1000) as server:
        keys = site.secure(mode="subscribe", keep_alive="200ms")
        device, config = make_device(server.url, points(["Counter"]), **keys)
        async with reporting(device, config) as collected:
            renewals = set()

            def renewed_twice() -> bool:
                assert isinstance(collected.session, OpcUaSession)
                renewals.add(collected.session._renew_at_s)
                return len(renewals) >= 3

            await eventually(renewed_twice, within_s=20)
            count = len(collected.all)
            await eventually(lambda: len(collected.all) > count)


async def test_a_policy_that_the_server_does_not_offer_is_told(tmp_path: Path) -> None:
    own, shown = make_certificate(CLIENT_URI, key=1), make_certificate(URI, key=2)
    with opcua_server() as server:
        keys = Site(server, tmp_path, own, shown).secure()
        device, _ = make_device(server.url, points(["Feed"]), **keys)
        with pytest.raises(DeviceUnavailableError, match="does not offer Basic256Sha256 with SignAndEncrypt"):
            await connect(device)


async def test_a_missing_file_is_named(site: Site) -> None:
    keys = site.secure() | {"private_key": str(site.folder / "nowhere.pem")}
    device, _ = make_device(site.server.url, points(["Feed"]), **keys)
    with pytest.raises(DeviceUnavailableError, match=r"cannot read .*nowhere\.pem: No such file"):
        await connect(device)
