"""Asks the running agent over its control socket."""

import json
import os
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge_agent.audit.chain import SUDO_HEADER
from edge_agent.cli.audit import sudo_user
from edge_agent.errors import EdgeAgentError

TIMEOUT_S = 10.0


class NoAgentError(EdgeAgentError):
    """Nobody answers at the socket."""


def get_status(path: Path) -> dict[str, Any]:
    """Return ``/status`` of the agent behind the Unix socket at ``path``.

    Raises:
        NoAgentError: nobody answers there; says what to do.
        EdgeAgentError: it is not for this user.
    """
    return _ask(path, "GET", "/status", None, TIMEOUT_S)


def get_text(path: Path, page: str) -> str:
    """Return another page of the agent, as it is.

    Raises:
        EdgeAgentError: as ``get_status``.
    """
    return _exchange(path, "GET", page, None, TIMEOUT_S)[1].decode("utf-8", "replace")


def act(
    path: Path, name: str, arguments: Mapping[str, object] | None = None, *, timeout_s: float | None = TIMEOUT_S
) -> dict[str, Any]:
    """Let the agent carry out an action and return what it answers.

    Args:
        path: of the control socket.
        name: of the action.
        arguments: what JSON has a word for.
        timeout_s: longest silence of the agent; None = as long as it takes. It stops when this side goes away.

    Raises:
        NoAgentError: nobody answers there; says what to do.
        EdgeAgentError: it is not for this user, or the agent says why it cannot be done.
    """
    body = json.dumps(arguments or {}).encode()
    return _ask(path, "POST", f"/actions/{name}", body, timeout_s)


def socket_of(config: Path | None) -> Path:
    """Return the control socket of the agent that runs with ``config``, or of the service."""
    if config is not None:
        from edge_agent.config import load_local  # noqa: PLC0415 - slow, and seldom needed
        from edge_agent.registry import Registry  # noqa: PLC0415 - as above

        return load_local(config, Registry()).ops.control_socket
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or "/run/edge-agent"
    return Path(folder) / "control.sock"


def _ask(path: Path, method: str, target: str, body: bytes | None, timeout_s: float | None) -> dict[str, Any]:
    status, content = _exchange(path, method, target, body, timeout_s)
    try:
        answer: dict[str, Any] = json.loads(content)
    except ValueError as exc:
        raise NoAgentError(f"no agent answers at {path} ({exc}); is it running? see --socket") from exc
    if status >= 400:  # noqa: PLR2004 - RFC 9110 §15.5
        raise EdgeAgentError(answer["error"])
    return answer


def _exchange(
    path: Path, method: str, target: str, body: bytes | None, timeout_s: float | None
) -> tuple[int, bytes]:
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request(method, target, body, {SUDO_HEADER: quote(name)} if (name := sudo_user()) else {})
        with connection.getresponse() as response:
            return response.status, response.read()
    except PermissionError as exc:
        raise EdgeAgentError(f"{path}: not allowed; use sudo, or join the group that owns the socket") from exc
    except (OSError, HTTPException, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise NoAgentError(f"no agent answers at {path} ({reason}); is it running? see --socket") from exc
    finally:
        connection.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("agent")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))
        self.sock.settimeout(self._timeout_s)
