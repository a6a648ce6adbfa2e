"""Who is let in, and whom we let near: certificates both ways, users, and what is said when it fails."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import DeviceUnavailableError
from edge_agent.testing.eventually import eventually
from edge_agent_opcua.certificate import fingerprint
from edge_agent_opcua.own import OwnCertificates
from edge_agent_opcua.session import OpcUaSession
from tests.servers.opcua.certificates import Pair, make_certificate
from tests.servers.opcua.reading import connect, make_device, points, read_once, reporting
from tests.servers.opcua.site import (
    AUTHORITY,
    CHANNELS,
    CLIENT_URI,
    EXPIRED,
    FUTURE,
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
from tests.servers.opcua_server import URI, OpcUaServer, opcua_server


def serving(stack: ExitStack, folder: Path, shown: Pair, *trusted: Pair, **options: Any) -> OpcUaServer:
    certificate, key = shown.write(folder, f"server-{fingerprint(shown.certificate)[:8]}")
    secure: dict[str, Any] = {
        "security": True,
        "certificate": str(certificate),
        "key": str(key),
        "users": {"op": PASSWORD},
    }
    return stack.enter_context(opcua_server([pair.der for pair in trusted], **secure | options))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpcUaServer]:
    with ExitStack() as stack:
        users = [USER_CERTIFICATE.der]
        yield serving(stack, tmp_path_factory.mktemp("server"), SHOWN, OWN, trusted_users=users)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path).trusting(SHOWN)


@pytest.mark.parametrize("kind", ["anonymous", "user", "certificate"])
@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
async def test_a_trusted_pair_talks_over_every_policy_as_anybody(
    server: OpcUaServer, site: Site, policy: str, mode: str, kind: str
) -> None:
    keys = identity(kind, site.folder) | {"security_policy": policy, "security_mode": mode}
    device, config = site.device(server.url, **keys)
    assert (await read_once(device, config))["Feed"].value == 1.5
    assert set(site.context.expiries) == {"own", "server"} | ({"user"} if kind == "certificate" else set())


@pytest.mark.parametrize("keys", [{}, USER | {"insecure_password": True}])
async def test_without_a_policy_nothing_is_protected_and_a_password_needs_the_explicit_word(
    server: OpcUaServer, keys: dict[str, Any]
) -> None:
    device, config = make_device(server.url, points(["Feed"]), mode="poll", **keys)
    assert (await read_once(device, config))["Feed"].value == 1.5


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, OpcUaServer]]:
    """Return servers by what is wrong with their certificate."""
    folder = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        wrong = {"expired": EXPIRED, "future": FUTURE, "renamed": RENAMED, "issued": ISSUED}
        yield {name: serving(stack, folder, shown, OWN) for name, shown in wrong.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize(
    ("which", "shown", "complaint"),
    [
        ("expired", EXPIRED, r"the certificate of the server has expired on .*; renew it on the server"),
        ("future", FUTURE, r"valid from .* only: .*is the clock of this gateway right"),
        (
            "renamed",
            RENAMED,
            r"names urn:example:another, the server says urn:edge-agent:test-server: .*renew it on the server",
        ),
    ],
)
async def test_a_listed_server_that_is_not_in_order_is_refused_and_told_what_to_do(
    servers: dict[str, OpcUaServer],
    tmp_path: Path,
    policy: str,
    mode: str,
    which: str,
    shown: Pair,
    complaint: str,
) -> None:
    site = Site(tmp_path).trusting(shown)
    device, _ = site.device(servers[which].url, security_policy=policy, security_mode=mode)
    with pytest.raises(DeviceUnavailableError, match=complaint):
        await connect(device)
    (kept,) = site.trust.rejected()
    assert kept.certificate == shown.certificate
    (seen,) = kept.seen
    assert re.search(rf" cnc {servers[which].url}: the certificate of the server {REASONS[which]}$", seen)


REASONS = {
    "expired": r"has expired on \S+",
    "future": r"is valid from \S+ only",
    "renamed": "belongs to another application",
}


@pytest.mark.slow
async def test_a_server_that_names_another_application_is_taken_with_the_explicit_word(
    servers: dict[str, OpcUaServer], tmp_path: Path
) -> None:
    device, config = Site(tmp_path).trusting(RENAMED).device(servers["renamed"].url, insecure_server_uri=True)
    assert (await read_once(device, config))["Feed"].value == 1.5


@pytest.mark.slow
async def test_what_a_trusted_authority_issued_is_trusted(servers: dict[str, OpcUaServer], tmp_path: Path) -> None:
    site = Site(tmp_path).trusting(AUTHORITY)
    device, config = site.device(servers["issued"].url)
    assert (await read_once(device, config))["Feed"].value == 1.5


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize("trusted", [[], [make_certificate(URI, key=3)]], ids=["unknown", "same-name"])
async def test_a_server_that_is_not_listed_is_refused_kept_and_trusted_by_its_fingerprint(
    server: OpcUaServer, tmp_path: Path, policy: str, mode: str, trusted: list[Pair]
) -> None:
    site = Site(tmp_path).trusting(*trusted)
    device, config = site.device(server.url, security_policy=policy, security_mode=mode)
    begins = fingerprint(SHOWN.certificate)[:16]
    told = rf"not trusted: .*SHA-256 {begins}.*compare the fingerprint.*edge-agent opcua trust add CONFIG {begins}"
    for _ in range(2):
        with pytest.raises(DeviceUnavailableError, match=told):
            await connect(device)
    (rejected,) = site.trust.rejected()
    assert rejected.certificate == SHOWN.certificate
    assert [line.split(" ", 1)[1] for line in rejected.seen] == [
        f"cnc {server.url}: the certificate of the server is not trusted"  # once, not at each attempt
    ]
    site.trust.add(begins)
    assert (await read_once(device, config))["Feed"].value == 1.5  # the same device: no restart
    assert site.trust.rejected() == []


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        (make_certificate(CLIENT_URI, key=3), r"our certificate.*edge-agent opcua certificate"),
        (make_certificate(CLIENT_URI, key=1, days=(-30, -1)), r"our certificate has expired on .*`certificate:`"),
    ],
    ids=["unknown", "expired"],
)
async def test_a_client_that_is_not_in_order_is_told_so(
    server: OpcUaServer, site: Site, policy: str, mode: str, own: Pair, complaint: str
) -> None:
    device, _ = site.device(server.url, own, security_policy=policy, security_mode=mode)
    with pytest.raises(DeviceUnavailableError, match=complaint):
        await connect(device)


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
async def test_a_client_that_names_another_application_than_its_certificate_is_told_so(
    server: OpcUaServer, site: Site, policy: str, mode: str
) -> None:
    keys: dict[str, Any] = {
        "security_policy": policy,
        "security_mode": mode,
        "application_uri": "urn:example:another",
    }
    device, _ = site.device(server.url, **keys)
    with pytest.raises(DeviceUnavailableError, match="our certificate names another application"):
        await connect(device)


async def test_the_certificate_that_is_made_is_taken_and_kept(site: Site) -> None:
    own = OwnCertificates(site.context.directory / "own")
    (made,) = own.usable(datetime.now(UTC))
    with ExitStack() as stack:
        server = serving(stack, site.folder, SHOWN, Pair(made.certificate, None))  # type: ignore[arg-type]  # no key
        for policy, mode in CHANNELS:
            device, config = site.device(server.url, None, security_policy=policy, security_mode=mode)
            assert (await read_once(device, config))["Feed"].value == 1.5
    assert [one.certificate for one in own.all()] == [made.certificate]


@pytest.mark.slow
async def test_a_renewed_own_certificate_costs_no_reading_where_it_is_not_trusted_yet(site: Site) -> None:
    own = OwnCertificates(site.context.directory / "own")
    (old,) = own.usable(datetime.now(UTC))
    with ExitStack() as stack:
        server = serving(stack, site.folder, SHOWN, Pair(old.certificate, None))  # type: ignore[arg-type]  # no key
        device, config = site.device(server.url, None, mode="subscribe")
        async with reporting(device, config) as collected:
            await collected.all_of(1)
            new = own.renew(datetime.now(UTC))
            assert new.application_uri == old.application_uri
            assert (await read_once(*site.device(server.url, None)))["Feed"].value == 1.5
        ends_ns, remedy = site.context.expiries["own"]
        assert ends_ns == round(old.certificate.not_valid_after_utc.timestamp()) * 10**9
        assert "edge-agent opcua certificate" in remedy
        server.kill()
        server = serving(stack, site.folder, SHOWN, Pair(new.certificate, None))  # type: ignore[arg-type]  # no key
        assert (await read_once(*site.device(server.url, None)))["Feed"].value == 1.5
        assert site.context.expiries["own"][0] == round(new.certificate.not_valid_after_utc.timestamp()) * 10**9


@pytest.mark.slow
async def test_a_server_that_comes_back_with_another_certificate_is_refused_until_it_is_trusted(
    site: Site,
) -> None:
    renewed = make_certificate(URI, key=6)
    certificate, key = renewed.write(site.folder, "renewed")
    with ExitStack() as stack:
        server = serving(stack, site.folder, SHOWN, OWN)
        device, config = site.device(server.url)
        assert (await read_once(device, config))["Feed"].value == 1.5
        server.kill()
        server.start(certificate=str(certificate), key=str(key))
        with pytest.raises(DeviceUnavailableError, match="not trusted"):
            await connect(device)
        site.trust.add(fingerprint(renewed.certificate))
        assert (await read_once(device, config))["Feed"].value == 1.5


async def test_a_wrong_password_is_told_without_the_password(server: OpcUaServer, site: Site) -> None:
    device, _ = site.device(server.url, user="op", password="Wrong-1!")  # noqa: S106 - the point of the test
    with pytest.raises(DeviceUnavailableError, match="check `user:` and `password:`") as told:
        await connect(device)
    assert "Wrong-1!" not in str(told.value)


async def test_a_user_whose_certificate_is_not_known_is_told_so(server: OpcUaServer, site: Site) -> None:
    certificate, key = make_certificate("urn:example:stranger", key=3).write(site.folder, "user")
    device, _ = site.device(server.url, user_certificate=str(certificate), user_private_key=str(key))
    with pytest.raises(DeviceUnavailableError, match="`user_certificate:`"):
        await connect(device)


@pytest.mark.slow
async def test_an_anonymous_session_is_refused_where_the_server_wants_a_user(site: Site) -> None:
    with ExitStack() as stack:
        server = serving(stack, site.folder, SHOWN, OWN, anonymous=False)
        device, _ = site.device(server.url)
        with pytest.raises(DeviceUnavailableError, match=r"logging in: .*`user:`"):
            await connect(device)


@pytest.mark.slow
async def test_readings_flow_across_renewals_of_the_channel(site: Site) -> None:
    with ExitStack() as stack:
        server = serving(stack, site.folder, SHOWN, OWN, tokenLifetime=1000)
        device, config = site.device(server.url, mode="subscribe", keep_alive="200ms", points=points(["Counter"]))
        async with reporting(device, config) as collected:
            renewals = set()

            def renewed_twice() -> bool:
                assert isinstance(collected.session, OpcUaSession)
                renewals.add(collected.session._services.renew_at_s)
                return len(renewals) >= 3

            await eventually(renewed_twice, within_s=20)
            count = len(collected.all)
            await eventually(lambda: len(collected.all) > count)


async def test_a_policy_that_the_server_does_not_offer_is_told_and_nothing_less_is_used(site: Site) -> None:
    with opcua_server() as server:
        device, _ = site.device(server.url)
        with pytest.raises(
            DeviceUnavailableError, match=r"does not offer Basic256Sha256 with SignAndEncrypt.*offers None/None"
        ):
            await connect(device)


async def test_a_missing_file_is_named(server: OpcUaServer, site: Site) -> None:
    device, _ = site.device(server.url, private_key=str(site.folder / "nowhere.pem"))
    with pytest.raises(DeviceUnavailableError, match=r"cannot read .*nowhere\.pem: No such file"):
        await connect(device)
