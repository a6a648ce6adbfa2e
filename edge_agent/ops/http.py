"""The agent's own pages: the status page, ``/status``, ``/metrics``, ``/livez``, ``/readyz``, by TCP and a socket.

They only show. What changes something, ``POST /actions/<name>``, is there on the Unix socket alone.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import NoReturn

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import EdgeAgentError
from edge_agent.ops.actions import MAX_BODY_BYTES, Actions, answer
from edge_agent.ops.gate import Gate, bounded
from edge_agent.ops.options import OpsOptions
from edge_agent.ops.pages import Pages
from edge_agent.ops.requests import request_log
from edge_agent.ops.server_certificate import ServerCertificate, server_context
from edge_agent.ops.view import View

_log = logging.getLogger(__name__)

SOCKET_PATH_MAX_BYTES = 107  # sockaddr_un holds 108 with the final zero, unix(7)
_SOCKET_MODE = 0o660
_SHUTDOWN_S = 1.0
_HANDSHAKE_S = 10.0
_SYSTEM_CLOCK = SystemClock()

Reasons = Callable[[], list[str]]


class OpsServer:
    """Serves the pages.

    Args:
        registry: what ``/metrics`` exports.
        view: what the status page and ``/status`` show.
        live: reasons why the agent is not alive; empty = alive.
        ready: reasons why it is not ready; empty = ready.
        actions: what may be asked for over the control socket.

    Attributes:
        started: set when both listeners accept connections.
        address: host and port of the TCP listener, None before ``started`` or without one.
    """

    def __init__(
        self,
        options: OpsOptions,
        registry: CollectorRegistry,
        *,
        view: View,
        live: Reasons,
        ready: Reasons,
        actions: Actions,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        self._options = options
        self._registry = registry
        self._view = view
        self._live = live
        self._ready = ready
        self._actions = actions
        self._request_log = request_log(clock.monotonic_s)
        self._gate = Gate(
            options.http_host,
            options.token,
            uses_tls=options.certificate is not None,
            monotonic_s=clock.monotonic_s,
            now_s=lambda: clock.now_ns() / 1e9,
        )
        self._certificate: ServerCertificate | None = None
        self.started = asyncio.Event()
        self.address: tuple[str, int] | None = None

    async def run(self) -> NoReturn:
        """Task ``ops``: serve until cancelled. Afterwards the port is free and the socket's file is gone.

        Raises:
            EdgeAgentError: the port or the socket cannot be had; says what to do.
        """
        pages = await asyncio.to_thread(Pages.read)
        # Two of them, so that no mistake in a handler can bring an action to the TCP listener.
        for_all, for_owners = self._for_all(pages), self._pages()
        for_owners.router.add_post("/actions/{name}", self._actions.post)
        async with AsyncExitStack() as stack:
            stack.enter_context(self._view.log.listening())
            await self._listen_unix(await _runner(for_owners, self._request_log, stack), stack)
            if context := await asyncio.to_thread(server_context, self._options):
                self._certificate = ServerCertificate(context)
            await self._listen_tcp(await _runner(for_all, self._request_log, stack), context, stack)
            self.started.set()
            while True:
                await asyncio.Event().wait()

    def take_up(self, token: str | None, context: ssl.SSLContext | None) -> None:
        """Go by another token and certificate, in the same listener; connections stay open.

        Args:
            token: None = everybody may look.
            context: of ``server_context``; None = the certificate stays.
        """
        self._gate.accept(token)
        if self._certificate is not None and context is not None:
            self._certificate.take(context)

    def _for_all(self, pages: Pages) -> web.Application:
        """Return what is served over TCP: the status page, and everything behind the gate."""
        application = self._pages(self._gate.middleware())
        pages.add_to(application)
        application.router.add_get("/api/overview", self._get_overview)
        application.router.add_get("/api/losses", self._get_losses)
        application.router.add_get("/api/devices/{device}", self._get_device)
        application.router.add_post("/login", self._gate.log_in)
        application.router.add_post("/logout", self._gate.log_out)
        return application

    def _pages(self, *middlewares: Middleware) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
        application.router.add_get("/metrics", self._get_metrics)
        application.router.add_get("/livez", _health(self._live))
        application.router.add_get("/readyz", _health(self._ready))
        application.router.add_get("/status", self._get_status)
        return application

    async def _listen_tcp(
        self, runner: web.AppRunner, context: ssl.SSLContext | None, stack: AsyncExitStack
    ) -> None:
        host, port = self._options.http_host, self._options.http_port
        if port is None:
            return
        if runner.server is None:
            raise RuntimeError("the runner was not set up")
        try:
            listener = await asyncio.get_running_loop().create_server(
                bounded(runner.server),
                host,
                port,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_S if context else None,
            )
        except OSError as exc:
            raise EdgeAgentError(
                f"cannot serve status and metrics on {host}:{port}: {_cause(exc)}; "
                "set ops.http to another address, or to a port of 0 for any free one"
            ) from exc
        stack.callback(listener.close)
        bound_host, bound_port = listener.sockets[-1].getsockname()[:2]
        self.address = (bound_host, bound_port)
        scheme = "https" if context else "http"
        _log.info("status and metrics", extra={"url": f"{scheme}://{_in_url(bound_host)}:{bound_port}/"})

    async def _listen_unix(self, runner: web.AppRunner, stack: AsyncExitStack) -> None:
        path = self._options.control_socket
        try:
            sock, inode = await asyncio.to_thread(_bind, path)
            stack.push_async_callback(asyncio.to_thread, _remove_own, path, inode)
            await web.SockSite(runner, sock).start()
        except OSError as exc:
            raise EdgeAgentError(
                f"cannot make the control socket {path}: {exc.strerror or exc}; "
                "set ops.control_socket to another path"
            ) from exc

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        # On a thread: with 500 devices this takes 40 ms, and as OpenMetrics 60.
        body = await asyncio.to_thread(generate_latest, self._registry)
        response = web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
        response.enable_compression()
        return response

    async def _get_status(self, _request: web.Request) -> web.Response:
        return _json(await self._view.status())

    async def _get_overview(self, _request: web.Request) -> web.Response:
        return _json(await self._view.overview())

    async def _get_losses(self, _request: web.Request) -> web.Response:
        return _json(await self._view.losses())

    async def _get_device(self, request: web.Request) -> web.Response:
        body = self._view.device(request.match_info["device"], request.query.get("search", ""))
        return answer({"error": "no such device"}, status=404) if body is None else _json(body)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", charset="utf-8")


def _health(reasons: Reasons) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def get(_request: web.Request) -> web.Response:
        why_not = reasons()
        return answer({"ok": not why_not, "reasons": why_not}, status=503 if why_not else 200)

    return get


async def _runner(application: web.Application, log: logging.Logger, stack: AsyncExitStack) -> web.AppRunner:
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=log,
        handle_signals=False,
        shutdown_timeout=_SHUTDOWN_S,
        handler_cancellation=True,  # an action stops when nobody waits for it any more
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


def _bind(path: Path) -> tuple[socket.socket, int]:
    """Return a bound socket, not yet listening, that its owner and group may use, and its file's inode.

    A socket file that nobody answers at is removed; anything else at ``path`` is left alone.

    Raises:
        OSError: why not.
    """
    if len(bytes(path)) > SOCKET_PATH_MAX_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"the path has {len(bytes(path))} of {SOCKET_PATH_MAX_BYTES} bytes")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(_SOCKET_MODE)  # before anybody can connect: it does not listen yet
        sock.settimeout(0)
        return sock, path.lstat().st_ino
    except OSError:
        sock.close()
        raise


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another agent answers there")


def _remove_own(path: Path, inode: int) -> None:
    """Remove the socket's file unless somebody has put another one there."""
    with suppress(FileNotFoundError):
        if path.lstat().st_ino == inode:
            path.unlink()


def _cause(exc: OSError) -> str:
    # asyncio wraps bind()'s error into a sentence that repeats the address; the number alone says why.
    return os.strerror(exc.errno) if exc.errno is not None and exc.errno > 0 else (exc.strerror or str(exc))


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
