"""Who may look over TCP: whom the Host header names, who knows the token, how many at a time, for how long."""

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edge_agent.loopback import is_loopback
from edge_agent.ops.actions import answer
from edge_agent.ops.requests import NOT_HTTP

COOKIE = "edge-agent"
SESSION_HEADER = "Edge-Agent-Session"
SESSION_S = 12 * 3600
MAX_FAILURES = 10
FAILURES_WITHIN_S = 60.0
MAX_ADDRESSES = 1024
MAX_REQUESTS = 16
MAX_CONNECTIONS = 128
LONGEST_S = 15.0
_HEALTH = frozenset({"/livez", "/readyz"})
_KEPT = {"Allow", "Location", "Retry-After", "WWW-Authenticate"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "edge-agent",
}


class Gate:
    """Middleware of the TCP listener.

    Args:
        host: where it listens; a loopback address may be asked for by the names of loopback alone.
        token: who knows it may look; None: everybody who gets here may.
        uses_tls: the cookie is for HTTPS only.
        monotonic_s: control time; ``now_s`` in Unix time ends sessions.
    """

    def __init__(
        self,
        host: str,
        token: str | None,
        *,
        uses_tls: bool,
        monotonic_s: Callable[[], float],
        now_s: Callable[[], float],
    ) -> None:
        self._is_local = is_loopback(host)
        self.accept(token)
        self._uses_tls = uses_tls
        self._monotonic_s = monotonic_s
        self._now_s = now_s
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._places = asyncio.Semaphore(MAX_REQUESTS)

    def accept(self, token: str | None) -> None:
        """Let in who knows ``token`` from the next request on, and nobody by the one before or its cookies."""
        self._token = None if token is None else token.encode()

    def middleware(self) -> Middleware:
        """Return what every request goes through."""

        @web.middleware
        async def pass_through(request: web.Request, handler: Handler) -> web.StreamResponse:
            # Health is told whatever others do: who is asked for it may restart what does not answer.
            places = nullcontext() if request.path in _HEALTH else self._places
            if places is self._places and self._places.locked():
                response: web.StreamResponse = answer({"error": "too many requests at a time"}, status=503)
                response.headers.update(_HEADERS)
                return response
            async with places:
                try:
                    async with asyncio.timeout(LONGEST_S):
                        response = await self._judged(request, handler)
                        response.headers.update(_HEADERS)
                        response.headers.setdefault("Cache-Control", "no-store")
                        # Sent here, so that who does not read loses the place that others wait for.
                        await response.prepare(request)
                        await response.write_eof()
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    return web.Response(status=503)
            return response

        return pass_through

    async def log_in(self, request: web.Request) -> web.Response:
        """``POST /login`` with the form of the login page: who knows the token gets a cookie."""
        if self._token is None:
            return _see("/")
        if self._is_blocked(request):
            return _see("/login?wait")
        form = parse_qs((await request.read()).decode(errors="replace"))
        if not self._is_token(form.get("token", [""])[0], request):
            return _see("/login?failed")
        response = _see("/")
        response.set_cookie(
            COOKIE,
            self._session(int(self._now_s()) + SESSION_S),
            max_age=SESSION_S,
            httponly=True,
            samesite="Strict",
            secure=self._uses_tls,
        )
        return response

    async def log_out(self, _request: web.Request) -> web.Response:
        """``POST /logout``: take the cookie away."""
        response = _see("/login")
        response.del_cookie(COOKIE, httponly=True, samesite="Strict", secure=self._uses_tls)
        return response

    async def _judged(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if self._is_local and not _names_loopback(request.host):
                raise web.HTTPMisdirectedRequest(text="this agent is to be asked for as 127.0.0.1 or localhost\n")
            if self._token is None or request.path == "/login" or request.path.startswith("/web/"):
                return await handler(request)
            if request.path in _HEALTH and not self._has_session(request):
                response = await handler(request)
                return answer({"ok": response.status == web.HTTPOk.status_code}, status=response.status)
            self._check(request)
            return self._marked(request, await handler(request))
        except web.HTTPException as exc:
            # aiohttp wants it raised again, but the answer needs its headers, and is sent by the middleware.
            response = web.Response(status=exc.status, text=exc.text)
            response.headers.update({name: exc.headers[name] for name in _KEPT & exc.headers.keys()})
            return response
        except NOT_HTTP as exc:
            return web.Response(status=web.HTTPBadRequest.status_code, text=f"{type(exc).__name__}\n")

    def _marked(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if self._has_session(request):
            response.headers[SESSION_HEADER] = "cookie"  # the page cannot see the cookie itself
        return response

    def _check(self, request: web.Request) -> None:
        """Let those in who know the token.

        Raises:
            HTTPException: what the others get.
        """
        if self._has_session(request):
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if self._is_blocked(request):
                raise web.HTTPTooManyRequests(headers={"Retry-After": f"{FAILURES_WITHIN_S:.0f}"})
            if self._is_token(given.strip(), request):
                return
        elif request.path == "/":
            raise web.HTTPSeeOther("/login")
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Bearer realm="edge-agent"'})

    def _is_token(self, given: str, request: web.Request) -> bool:
        if self._token is not None and hmac.compare_digest(given.encode(errors="replace"), self._token):
            return True
        address, now_s = request.remote or "", self._monotonic_s()
        count, since_s = self._failures.pop(address, (0, now_s))
        self._failures[address] = (count + 1, since_s) if now_s - since_s < FAILURES_WITHIN_S else (1, now_s)
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        return False

    def _is_blocked(self, request: web.Request) -> bool:
        count, since_s = self._failures.get(request.remote or "", (0, 0.0))
        return count >= MAX_FAILURES and self._monotonic_s() - since_s < FAILURES_WITHIN_S

    def _session(self, ends_s: int) -> str:
        """Return the cookie's value: when it ends, sealed with the token. It outlives the agent, not the token."""
        seal = hmac.new(self._token or b"", f"session {ends_s}".encode(), hashlib.sha256).hexdigest()
        return f"{ends_s}.{seal}"

    def _has_session(self, request: web.Request) -> bool:
        given = request.cookies.get(COOKIE, "")
        ends = given.partition(".")[0]
        if not ends.isascii() or not ends.isdecimal() or len(ends) > len("9999999999"):
            return False
        is_ours = hmac.compare_digest(given.encode(errors="replace"), self._session(int(ends)).encode())
        return is_ours and self._now_s() < int(ends)


def bounded(server: web.Server) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of each new connection of ``server``; beyond the bound the oldest give way.

    A connection that asks for nothing costs a descriptor, and devices need them too.
    """

    def accept() -> asyncio.Protocol:
        connections = server.connections
        for oldest in connections[: max(0, len(connections) - MAX_CONNECTIONS + 1)]:
            if oldest.transport is not None:
                oldest.transport.abort()
        return server()

    return accept


def _see(place: str) -> web.Response:
    return web.Response(status=web.HTTPSeeOther.status_code, headers={"Location": place})


def _names_loopback(written: str) -> bool:
    """Return whether a Host header names this machine and not a name that somebody made resolve to it."""
    try:
        return is_loopback(urlsplit(f"//{written}").hostname or "")
    except ValueError:
        return False
