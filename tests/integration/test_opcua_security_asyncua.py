"""The matrix of policies, modes and identities against asyncua's server, which is another stack than node-opcua.

Its server offers every policy and identity that the driver has; it knows no revocation of what it was shown, which
``tests/unit/test_opcua_trust.py`` has.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import DeviceUnavailableError
from edge_agent_opcua.certificate import fingerprint
from tests.servers.opcua.certificates import Pair, make_certificate
from tests.servers.opcua.reading import connect, make_device, points, read_once
from tests.servers.opcua.secure_asyncua import Secure, SecureServers, secure_asyncua_servers
from tests.servers.opcua.site import (
    AUTHORITY,
    CHANNELS,
    CLIENT_URI,
    EXPIRED,
    ISSUED,
    OWN,
    PASSWORD,
    RENAMED,
    SHOWN,
    USER,
    USER_CERTIFICATE,
    Site,
    identity,
)
from tests.servers.opcua_server import URI

UNLISTED = {"self-signed": SHOWN, "issued": ISSUED}
NAMESAKES = {
    "self-signed": make_certificate(URI, key=3),
    "issued": make_certificate("urn:example:authority", key=6, is_authority=True),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServers]:
    """By what is wrong with their certificates. ``issued`` takes no user certificates."""
    folder = tmp_path_factory.mktemp("servers")
    OWN.write(folder / "clients", "own")
    (folder / "clients" / "own.key").unlink()
    user, _ = USER_CERTIFICATE.write(folder, "user")

    def secure(name: str, shown: Pair, **more: Any) -> Secure:
        certificate, key = shown.write(folder, name)
        return Secure(str(certificate), str(key), str(folder / "clients"), {"op": PASSWORD}, [str(user)], **more)

    described = {
        "self-signed": secure("self-signed", SHOWN),
        "issued": secure("issued", ISSUED, identities=["anonymous", "user"]),
        "expired": secure("expired", EXPIRED),
        "renamed": secure("renamed", RENAMED),
    }
    with secure_asyncua_servers(described, folder / "log") as running:
        yield running


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path).trusting(SHOWN)


@pytest.mark.parametrize("kind", ["anonymous", "user", "certificate"])
@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
async def test_a_trusted_pair_talks_over_every_policy_as_anybody(
    servers: SecureServers, site: Site, policy: str, mode: str, kind: str
) -> None:
    keys = identity(kind, site.folder) | {"security_policy": policy, "security_mode": mode}
    device, config = site.device(servers.urls["self-signed"], **keys)
    assert (await read_once(device, config))["Feed"].value == 1.5
    assert set(site.context.expiries) == {"own", "server"} | ({"user"} if kind == "certificate" else set())


async def test_without_a_policy_anybody_is_served(servers: SecureServers) -> None:
    device, config = make_device(servers.urls["expired"], points(["Feed"]), mode="poll")
    assert (await read_once(device, config))["Feed"].value == 1.5


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize(
    ("which", "shown", "complaint"),
    [
        ("expired", EXPIRED, r"the certificate of the server has expired on .*; renew it on the server"),
        (
            "renamed",
            RENAMED,
            r"names urn:example:another, the server says urn:edge-agent:test-server: .*renew it on the server",
        ),
    ],
)
async def test_a_server_that_is_not_in_order_is_refused_before_a_session_listed_or_not(
    servers: SecureServers,
    tmp_path: Path,
    policy: str,
    mode: str,
    which: str,
    shown: Pair,
    complaint: str,
) -> None:
    site = Site(tmp_path)
    before = servers.sessions()
    device, _ = site.device(servers.urls[which], security_policy=policy, security_mode=mode)
    begins = fingerprint(shown.certificate)[:16]
    with pytest.raises(DeviceUnavailableError, match=rf"edge-agent opcua trust add CONFIG {begins}"):
        await connect(device)
    assert [one.certificate for one in site.trust.rejected()] == [shown.certificate]
    site.trust.add(begins)
    for _ in range(2):
        with pytest.raises(DeviceUnavailableError, match=complaint):
            await connect(device)
    (kept,) = site.trust.rejected()
    (seen,) = kept.seen
    assert re.search(
        rf" cnc {servers.urls[which]}: the certificate of the server (has expired|belongs to an)", seen
    )
    assert servers.sessions() == before


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize("is_namesake_trusted", [False, True], ids=["unknown", "same-name"])
@pytest.mark.parametrize("which", UNLISTED)
async def test_a_server_that_nobody_vouches_for_is_refused_kept_and_trusted_by_its_fingerprint(
    servers: SecureServers, tmp_path: Path, policy: str, mode: str, which: str, *, is_namesake_trusted: bool
) -> None:
    site = Site(tmp_path).trusting(*[NAMESAKES[which]] * is_namesake_trusted)
    shown, before = UNLISTED[which], servers.sessions()
    device, config = site.device(servers.urls[which], security_policy=policy, security_mode=mode)
    begins = fingerprint(shown.certificate)[:16]
    told = rf"not trusted: .*SHA-256 {begins}.*compare the fingerprint.*edge-agent opcua trust add CONFIG {begins}"
    with pytest.raises(DeviceUnavailableError, match=told):
        await connect(device)
    assert [one.certificate for one in site.trust.rejected()] == [shown.certificate]
    assert servers.sessions() == before
    site.trust.add(begins)
    assert (await read_once(device, config))["Feed"].value == 1.5  # the same device: no restart
    assert site.trust.rejected() == []


async def test_what_a_trusted_authority_issued_is_trusted(servers: SecureServers, tmp_path: Path) -> None:
    device, config = Site(tmp_path).trusting(AUTHORITY).device(servers.urls["issued"])
    assert (await read_once(device, config))["Feed"].value == 1.5


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize(
    ("own", "keys", "complaint"),
    [
        (make_certificate(CLIENT_URI, key=3), {}, r"does not trust our certificate.*edge-agent opcua certificate"),
        (
            OWN,
            {"application_uri": "urn:example:another"},
            r"our certificate names another application: check `application_uri:`",
        ),
    ],
    ids=["unknown", "renamed"],
)
async def test_a_client_that_is_not_in_order_is_told_so(
    servers: SecureServers, site: Site, policy: str, mode: str, own: Pair, keys: dict[str, Any], complaint: str
) -> None:
    url = servers.urls["self-signed"]
    device, _ = site.device(url, own, security_policy=policy, security_mode=mode, **keys)
    with pytest.raises(DeviceUnavailableError, match=complaint):
        await connect(device)


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize("kind", ["user", "certificate"])
async def test_a_user_whom_the_server_does_not_know_is_told_so_without_the_password(
    servers: SecureServers, site: Site, policy: str, mode: str, kind: str
) -> None:
    namesake = make_certificate("urn:example:operator", key=3)
    wrong = USER | {"password": "Wrong-1!"} if kind == "user" else identity(kind, site.folder, namesake)
    keys = wrong | {"security_policy": policy, "security_mode": mode}
    device, _ = site.device(servers.urls["self-signed"], **keys)
    told = r"logging in: the server refuses this user: check `user:` and `password:`, or `user_certificate:`"
    with pytest.raises(DeviceUnavailableError, match=told) as refused:
        await connect(device)
    assert "Wrong-1!" not in str(refused.value)


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
async def test_a_user_certificate_where_none_is_taken_is_told_so(
    servers: SecureServers, tmp_path: Path, policy: str, mode: str
) -> None:
    site = Site(tmp_path).trusting(ISSUED)
    keys = identity("certificate", site.folder) | {"security_policy": policy, "security_mode": mode}
    device, _ = site.device(servers.urls["issued"], **keys)
    told = (
        r"logging in: the server does not take a user certificate here: "
        r"write `user:` and `password:`, or neither `user:` nor `user_certificate:`$"
    )
    with pytest.raises(DeviceUnavailableError, match=told):
        await connect(device)
