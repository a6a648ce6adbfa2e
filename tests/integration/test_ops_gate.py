"""Who may look over TCP, and for how long."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge_agent.errors import EdgeAgentError
from edge_agent.metrics import Metrics
from edge_agent.ops import gate
from edge_agent.ops.actions import Actions
from edge_agent.ops.gate import COOKIE, MAX_CONNECTIONS, MAX_FAILURES, MAX_REQUESTS, SESSION_S, Gate
from edge_agent.ops.http import OpsServer
from edge_agent.ops.options import OpsOptions
from edge_agent.ops.server_certificate import ServerCertificate, server_context
from edge_agent.testing.eventually import eventually
from tests.servers.modbus_tls import Plant
from tests.servers.view import view_of

TOKEN = "5f4dcc3b5aa765d61d8327deb882cf99"  # noqa: S105 - of this test
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGES = ["/", "/status", "/metrics", "/api/overview", "/api/losses", "/api/devices/x", "/etc/passwd"]


@asynccontextmanager
async def served(folder: Path, *, head: dict[str, object] | None = None, **options: Any) -> AsyncIterator[str]:
    server = OpsServer(
        OpsOptions("127.0.0.1", 0, folder / "control.sock", **options),
        Metrics().registry,
        view=view_of(lambda: dict(head or {})),
        live=lambda: ["the outbox stands still"],
        ready=list,
        actions=Actions(),
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await eventually(server.started.is_set)
        assert server.address
        yield f"{'https' if options.get('certificate') else 'http'}://127.0.0.1:{server.address[1]}"
        task.cancel()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def status_of(client: aiohttp.ClientSession, url: str, **keys: Any) -> int:
    async with client.get(url, allow_redirects=False, **keys) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9464", "127.8.9.1", "[::1]:80"])
async def test_the_names_of_loopback_are_answered_to(
    folder: Path, client: aiohttp.ClientSession, host: str
) -> None:
    async with served(folder) as url:
        assert await status_of(client, f"{url}/status", headers={"Host": host}) == 200


@pytest.mark.parametrize("host", ["attacker.example", "localhost.attacker.example:9464", "10.0.0.5", "[", ""])
async def test_a_name_that_somebody_made_resolve_to_this_machine_gets_nothing(
    folder: Path, client: aiohttp.ClientSession, host: str
) -> None:
    async with served(folder) as url:
        for page in [*PAGES, "/livez", "/login", "/web/page.js"]:
            assert await status_of(client, url + page, headers={"Host": host}) == 421


async def test_every_answer_has_the_headers(folder: Path, client: aiohttp.ClientSession) -> None:
    async with served(folder, token=TOKEN) as url:
        for page in [*PAGES, "/livez", "/login", "/web/page.js", "/web/nothing"]:
            async with client.get(url + page, allow_redirects=False) as response:
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'self'" in policy
                assert "unsafe" not in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Server"] == "edge-agent"


async def test_without_the_token_only_health_is_told_and_no_reason(
    folder: Path, client: aiohttp.ClientSession
) -> None:
    async with served(folder, token=TOKEN) as url:
        assert [await status_of(client, url + page) for page in PAGES] == [303, 401, 401, 401, 401, 401, 401]
        async with client.get(f"{url}/livez") as response:
            assert (response.status, await response.json()) == (503, {"ok": False})
        async with client.get(f"{url}/livez", headers=BEARER) as response:
            assert (response.status, await response.json()) == (503, {"ok": False})
        assert await status_of(client, f"{url}/metrics", headers=BEARER) == 200
        for wrong in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"):
            assert await status_of(client, f"{url}/metrics", headers={"Authorization": wrong}) == 401


async def test_guessing_is_slowed_down(folder: Path, client: aiohttp.ClientSession) -> None:
    async with served(folder, token=TOKEN) as url:
        wrong = {"Authorization": "Bearer nothing"}
        found = [await status_of(client, f"{url}/status", headers=wrong) for _ in range(MAX_FAILURES + 1)]
        assert found == [401] * MAX_FAILURES + [429]
        assert await status_of(client, f"{url}/status", headers=BEARER) == 429  # it is not told that this is it
        async with client.post(f"{url}/login", data={"token": TOKEN}, allow_redirects=False) as response:
            assert response.headers["Location"] == "/login?wait"


async def test_the_form_gives_a_cookie_that_opens_the_page_and_cannot_be_made_up(
    folder: Path, client: aiohttp.ClientSession
) -> None:
    async with served(folder, token=TOKEN) as url:
        async with client.post(f"{url}/login", data={"token": "wrong"}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/login?failed")
            assert "Set-Cookie" not in response.headers
        async with client.post(f"{url}/login", data={"token": TOKEN}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/")
            written, cookie = response.headers["Set-Cookie"], response.cookies[COOKIE].value
        assert "HttpOnly" in written
        assert "SameSite=Strict" in written
        assert TOKEN not in written
        assert await status_of(client, f"{url}/api/overview", headers={"Cookie": f"{COOKIE}={cookie}"}) == 200
        ends, seal = cookie.split(".")
        for forged in (
            f"{int(ends) + 1}.{seal}",
            f"{ends}.{seal[::-1]}",
            ends,
            "",
            ".",
            "\uff19.x",
            f"{'9' * 5000}.x",
        ):
            headers = {"Cookie": f"{COOKIE}={forged}"}
            assert await status_of(client, f"{url}/api/overview", headers=headers) == 401


def test_a_session_ends() -> None:
    now_s = 1_000_000.0
    judge = Gate("127.0.0.1", TOKEN, uses_tls=False, monotonic_s=lambda: 0.0, now_s=lambda: now_s)

    class Request:
        cookies = {COOKIE: judge._session(int(now_s) + SESSION_S)}  # noqa: RUF012 - of this test

    request: Any = Request()
    assert judge._has_session(request)
    now_s += SESSION_S
    assert not judge._has_session(request)


async def test_https_is_spoken_from_tls_1_2_on_and_the_cookie_is_for_it_alone(
    folder: Path, client: aiohttp.ClientSession
) -> None:
    plant = Plant.build(folder / "pki")
    plant.issue("box", "127.0.0.1")
    trusting = ssl.create_default_context(cafile=str(plant.path("ca.pem")))
    files: dict[str, Any] = {"certificate": plant.path("box.pem"), "key": plant.path("box.key")}
    async with served(folder, token=TOKEN, **files) as url:
        assert await status_of(client, f"{url}/status", headers=BEARER, ssl=trusting) == 200
        form = {"token": TOKEN}
        async with client.post(f"{url}/login", data=form, allow_redirects=False, ssl=trusting) as response:
            assert "Secure" in response.headers["Set-Cookie"]
        assert "Cipher is (NONE)" in await handshake(url, "-tls1_1")
        assert "Cipher is ECDHE" in await handshake(url, "-tls1_2")


async def handshake(url: str, version: str) -> str:
    """Return what OpenSSL's client says of one with ``version`` alone."""
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", url.removeprefix("https://"), version, "-cipher", "ALL:@SECLEVEL=0"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return (await process.communicate())[0].decode()


@pytest.mark.parametrize("name", ["box.example", None], ids=["the server is named", "it is not"])
async def test_another_certificate_is_shown_from_the_next_handshake_on(folder: Path, name: str | None) -> None:
    plant = Plant.build(folder / "pki")
    trusting = ssl.create_default_context(cafile=str(plant.path("ca.pem")))

    def issued() -> ssl.SSLContext:
        plant.issue("box", "127.0.0.1", "box.example")
        options = OpsOptions("127.0.0.1", 0, folder, certificate=plant.path("box.pem"), key=plant.path("box.key"))
        context = server_context(options)
        assert context
        return context

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    certificate = ServerCertificate(await asyncio.to_thread(issued))
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificate.context)

    async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, object]:
        where = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*where, ssl=trusting, server_hostname=name or "127.0.0.1")
        return reader, writer, writer.get_extra_info("peercert")["serialNumber"]

    async with server:
        reader, writer, first = await connected()
        _, other, again = await connected()
        assert again == first
        certificate.take(await asyncio.to_thread(issued))
        _, new, second = await connected()
        assert second != first
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        for one in (writer, other, new):
            one.close()
            await one.wait_closed()


async def test_a_key_that_does_not_fit_is_told(folder: Path) -> None:
    plant = Plant.build(folder / "pki")
    plant.issue("box", "127.0.0.1")
    plant.issue("other", "127.0.0.1")
    options = OpsOptions(
        "127.0.0.1", 0, folder / "c.sock", certificate=plant.path("box.pem"), key=plant.path("other.key")
    )
    server = OpsServer(options, Metrics().registry, view=view_of(), live=list, ready=list, actions=Actions())
    with pytest.raises(EdgeAgentError, match=r"cannot serve HTTPS with .*box\.pem and .*other\.key: .*mismatch"):
        await server.run()


async def test_who_does_not_read_loses_the_connection_and_others_get_their_turn(
    folder: Path, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LONGEST_S", 1.0)
    async with served(folder, head={"much": "x" * 4_000_000}) as url:
        host, port = "127.0.0.1", int(url.rpartition(":")[2])
        lazy = [await asyncio.to_thread(socket.create_connection, (host, port)) for _ in range(MAX_REQUESTS)]
        try:
            for sock in lazy:
                sock.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            statuses: set[int] = set()

            async def is_served_again() -> bool:
                statuses.add(await status_of(client, f"{url}/login"))
                assert await status_of(client, f"{url}/readyz") == 200
                return 503 in statuses and 200 in statuses

            async with asyncio.timeout(10):
                while not await is_served_again():  # noqa: ASYNC110 - each turn is a request
                    await asyncio.sleep(0.01)
        finally:
            for sock in lazy:
                sock.close()


async def test_connections_that_ask_for_nothing_give_way_to_new_ones(
    folder: Path, client: aiohttp.ClientSession
) -> None:
    async with served(folder) as url, AsyncExitStack() as stack:
        where = ("127.0.0.1", int(url.rpartition(":")[2]))
        idle = []
        for _ in range(MAX_CONNECTIONS + 20):
            reader, writer = await asyncio.open_connection(*where)
            stack.callback(writer.close)
            idle.append(reader)
            assert await status_of(client, f"{url}/status") == 200
        async with asyncio.timeout(5):
            for reader in idle[:20]:
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
        assert not idle[-1].at_eof()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"abc"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: \xff\r\n"),
        ("application/x-www-form-urlencoded; charset=nope", b"token=a"),
        ("application/x-www-form-urlencoded", b"token=\xff\xfe"),
        ("application/x-www-form-urlencoded", b"&=;" * 20_000),
    ],
)
async def test_a_form_of_any_kind_is_a_wrong_token(
    folder: Path, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, kind: str, body: bytes
) -> None:
    async with served(folder, token=TOKEN) as url:
        headers = {"Content-Type": kind}
        async with client.post(f"{url}/login", data=body, headers=headers, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/login?failed")
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_body_that_is_not_packed_as_it_says_is_a_bad_request(
    folder: Path, client: aiohttp.ClientSession
) -> None:
    async with served(folder, token=TOKEN) as url:
        headers = {"Content-Encoding": "gzip"}
        async with client.post(f"{url}/login", data=b"abc", headers=headers) as response:
            assert response.status == 400
            assert response.headers["Server"] == "edge-agent"


async def test_what_is_not_http_costs_one_line_of_the_log_and_none_of_its_bytes(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(folder, token=TOKEN) as url:
        for _ in range(5):
            for line in (f"Authorization: Bearer {TOKEN}\0", "X: " + "a" * 100_000, "Content-Length: -5"):
                assert b" 400 " in await sent(url, f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n\r\n")
    warned = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert 1 <= len(warned) <= 3  # one of each kind
    assert {one.getMessage() for one in warned} == {"a request is not HTTP and was refused"}
    assert TOKEN not in caplog.text


async def sent(url: str, text: str) -> bytes:
    """Send a request as it stands; give the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        writer.write(text.encode())
        return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
