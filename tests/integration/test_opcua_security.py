"""Who is let in, and whom we let near: certificates both ways, users, and what is said when it fails.

What no server needs to be started anew for is asked of two stacks: node-opcua's, and that of the driver's library.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
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
from tests.servers.opcua.secure_asyncua import Secure, secure_asyncua_servers
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

NAMESAKES = {
    "self-signed": make_certificate(URI, key=3),
    "issued": make_certificate("urn:example:authority", key=6, is_authority=True),
}


def serving(stack: ExitStack, folder: Path, shown: Pair, *trusted: Pair, **options: Any) -> OpcUaServer:
    certificate, key = shown.write(folder, f"server-{fingerprint(shown.certificate)[:8]}")
    secure: dict[str, Any] = {
        "security": True,
        "certificate": str(certificate),
        "key": str(key),
        "users": {"op": PASSWORD},
    }
    return stack.enter_context(opcua_server([pair.der for pair in trusted], **secure | options))


@dataclass(frozen=True)
class Stack:
    """Servers of one implementation, by what is wrong with their certificates.

    ``self-signed`` and ``issued`` are in order. asyncua's ``issued`` takes no user certificates.

    Attributes:
        sessions: tells how many sessions clients have had or asked for so far.
    """

    urls: Mapping[str, str]
    sessions: Callable[[], object]


REASONS = {
    "expired": r"has expired on \S+",
    "future": r"is valid from \S+ only",
    "renamed": "belongs to another application",
}
CERTIFICATES = {
    "self-signed": SHOWN,
    "issued": ISSUED,
    "expired": EXPIRED,
    "future": FUTURE,
    "renamed": RENAMED,
}


def node_opcua(stack: ExitStack, folder: Path) -> Stack:
    users = {"trusted_users": [USER_CERTIFICATE.der]}
    servers = {name: serving(stack, folder, shown, OWN, **users) for name, shown in CERTIFICATES.items()}
    return Stack(
        {name: server.url for name, server in servers.items()},
        lambda: [server.order("sessions")["ever"] for server in servers.values()],
    )


def asyncua(stack: ExitStack, folder: Path) -> Stack:
    """Offer every policy and identity that the driver has; of revocation it knows nothing."""
    OWN.write(folder / "clients", "own")
    (folder / "clients" / "own.key").unlink()
    user, _ = USER_CERTIFICATE.write(folder, "user")
    described = {}
    for name, shown in CERTIFICATES.items():
        certificate, key = shown.write(folder, name)
        more: dict[str, Any] = {"identities": ["anonymous", "user"]} if name == "issued" else {}
        described[name] = Secure(
            str(certificate), str(key), str(folder / "clients"), {"op": PASSWORD}, [str(user)], **more
        )
    servers = stack.enter_context(secure_asyncua_servers(described, folder / "log"))
    return Stack(servers.urls, servers.sessions)


@pytest.fixture(scope="module", params=[node_opcua, asyncua])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ExitStack() as running:
        yield request.param(running, tmp_path_factory.mktemp("servers"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path).trusting(SHOWN)


@pytest.mark.parametrize("kind", ["anonymous", "user", "certificate"])
@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
async def test_a_trusted_pair_talks_over_every_policy_as_anybody(
    stack: Stack, site: Site, policy: str, mode: str, kind: str
) -> None:
    keys = identity(kind, site.folder) | {"security_policy": policy, "security_mode": mode}
    device, config = site.device(stack.urls["self-signed"], **keys)
    assert (await read_once(device, config))["Feed"].value == 1.5
    assert set(site.context.expiries) == {"own", "server"} | ({"user"} if kind == "certificate" else set())


@pytest.mark.parametrize("keys", [{}, USER | {"insecure_password": True}])
@pytest.mark.parametrize("which", ["self-signed", "expired"])
async def test_without_a_policy_nothing_is_protected_and_a_password_needs_the_explicit_word(
    stack: Stack, which: str, keys: dict[str, Any]
) -> None:
    device, config = make_device(stack.urls[which], points(["Feed"]), mode="poll", **keys)
    assert (await read_once(device, config))["Feed"].value == 1.5


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize(
    ("which", "complaint"),
    [
        ("expired", r"the certificate of the server has expired on .*; renew it on the server"),
        ("future", r"valid from .* only: .*is the clock of this gateway right"),
        (
            "renamed",
            r"names urn:example:another, the server says urn:edge-agent:test-server: .*renew it on the server",
        ),
    ],
)
async def test_a_server_that_is_not_in_order_is_refused_before_a_session_listed_or_not(
    stack: Stack, tmp_path: Path, policy: str, mode: str, which: str, complaint: str
) -> None:
    site = Site(tmp_path)
    shown, before = CERTIFICATES[which], stack.sessions()
    device, _ = site.device(stack.urls[which], security_policy=policy, security_mode=mode)
    begins = fingerprint(shown.certificate)[:16]
    with pytest.raises(DeviceUnavailableError, match=rf"edge-agent opcua trust add CONFIG {begins}"):
        await connect(device)
    assert [one.certificate for one in site.trust.rejected()] == [shown.certificate]
    site.trust.add(begins)
    for _ in range(2):
        with pytest.raises(DeviceUnavailableError, match=complaint):
            await connect(device)
    (kept,) = site.trust.rejected()
    assert kept.certificate == shown.certificate
    (seen,) = kept.seen
    assert re.search(rf" cnc {stack.urls[which]}: the certificate of the server {REASONS[which]}$", seen)
    assert stack.sessions() == before


async def test_a_server_that_names_another_application_is_taken_with_the_explicit_word(
    stack: Stack, tmp_path: Path
) -> None:
    device, config = Site(tmp_path).trusting(RENAMED).device(stack.urls["renamed"], insecure_server_uri=True)
    assert (await read_once(device, config))["Feed"].value == 1.5


async def test_what_a_trusted_authority_issued_is_trusted(stack: Stack, tmp_path: Path) -> None:
    device, config = Site(tmp_path).trusting(AUTHORITY).device(stack.urls["issued"])
    assert (await read_once(device, config))["Feed"].value == 1.5


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize("is_namesake_trusted", [False, True], ids=["unknown", "same-name"])
@pytest.mark.parametrize("which", NAMESAKES)
async def test_a_server_that_is_not_listed_is_refused_kept_and_trusted_by_its_fingerprint(
    stack: Stack, tmp_path: Path, policy: str, mode: str, which: str, *, is_namesake_trusted: bool
) -> None:
    site = Site(tmp_path).trusting(*[NAMESAKES[which]] * is_namesake_trusted)
    shown, url, before = CERTIFICATES[which], stack.urls[which], stack.sessions()
    device, config = site.device(url, security_policy=policy, security_mode=mode)
    begins = fingerprint(shown.certificate)[:16]
    told = rf"not trusted: .*SHA-256 {begins}.*compare the fingerprint.*edge-agent opcua trust add CONFIG {begins}"
    for _ in range(2):
        with pytest.raises(DeviceUnavailableError, match=told):
            await connect(device)
    (rejected,) = site.trust.rejected()
    assert rejected.certificate == shown.certificate
    assert [line.split(" ", 1)[1] for line in rejected.seen] == [
        f"cnc {url}: the certificate of the server is not trusted"  # once, not at each attempt
    ]
    assert stack.sessions() == before
    site.trust.add(begins)
    assert (await read_once(device, config))["Feed"].value == 1.5  # the same device: no restart
    assert site.trust.rejected() == []


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize(
    ("own", "keys", "complaint"),
    [
        (make_certificate(CLIENT_URI, key=3), {}, r"our certificate.*edge-agent opcua certificate"),
        (
            make_certificate(CLIENT_URI, key=1, days=(-30, -1)),
            {},
            r"our certificate has expired on .*`certificate:`",
        ),
        (
            OWN,
            {"application_uri": "urn:example:another"},
            r"our certificate names another application: check `application_uri:`",
        ),
    ],
    ids=["unknown", "expired", "renamed"],
)
async def test_a_client_that_is_not_in_order_is_told_so(
    stack: Stack, site: Site, policy: str, mode: str, own: Pair, keys: dict[str, Any], complaint: str
) -> None:
    url = stack.urls["self-signed"]
    device, _ = site.device(url, own, security_policy=policy, security_mode=mode, **keys)
    with pytest.raises(DeviceUnavailableError, match=complaint):
        await connect(device)


@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
@pytest.mark.parametrize("kind", ["user", "certificate"])
async def test_a_user_whom_the_server_does_not_know_is_told_so_without_the_password(
    stack: Stack, site: Site, policy: str, mode: str, kind: str
) -> None:
    namesake = make_certificate("urn:example:operator", key=3)
    wrong = USER | {"password": "Wrong-1!"} if kind == "user" else identity(kind, site.folder, namesake)
    keys = wrong | {"security_policy": policy, "security_mode": mode}
    device, _ = site.device(stack.urls["self-signed"], **keys)
    told = r"logging in: the server refuses this user: check `user:` and `password:`, or `user_certificate:`"
    with pytest.raises(DeviceUnavailableError, match=told) as refused:
        await connect(device)
    assert "Wrong-1!" not in str(refused.value)


@pytest.mark.parametrize("stack", [asyncua], indirect=True)
@pytest.mark.parametrize(("policy", "mode"), CHANNELS)
async def test_a_user_certificate_where_none_is_taken_is_told_so(
    stack: Stack, tmp_path: Path, policy: str, mode: str
) -> None:
    site = Site(tmp_path).trusting(ISSUED)
    keys = identity("certificate", site.folder) | {"security_policy": policy, "security_mode": mode}
    device, _ = site.device(stack.urls["issued"], **keys)
    told = (
        r"logging in: the server does not take a user certificate here: "
        r"write `user:` and `password:`, or neither `user:` nor `user_certificate:`$"
    )
    with pytest.raises(DeviceUnavailableError, match=told):
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


async def test_a_missing_file_is_named(site: Site) -> None:
    device, _ = site.device("opc.tcp://127.0.0.1:4840", private_key=str(site.folder / "nowhere.pem"))
    with pytest.raises(DeviceUnavailableError, match=r"cannot read .*nowhere\.pem: No such file"):
        await connect(device)
