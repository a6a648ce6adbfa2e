"""What the agent does when it is asked to, over the control socket alone: named actions, JSON in and out.

``POST /actions/<name>`` with a JSON object (or nothing) as body. The answer is what the action returns, or
``{"error": "what a person can do"}`` with a status of 404 (no such action), 413 (body too large) or 422.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from edge_agent.errors import EdgeAgentError
from edge_agent.ops.auditor import Auditor, actor_of
from edge_agent.ops.requests import NOT_HTTP

MAX_BODY_BYTES = 64 * 1024
_NAME = re.compile(r"[a-z][a-z0-9_-]*")

Action = Callable[[dict[str, Any]], Awaitable[object]]
"""Takes the asked-for arguments and returns what JSON has a word for.

Raises:
    EdgeAgentError: it cannot be done; the message goes to whoever asked.

Cancelled when whoever asked goes away.
"""


class Actions:
    """The actions of one agent, by name; filled before the server runs. ``auditor``: None = no record."""

    def __init__(self, auditor: Auditor | None = None) -> None:
        self._actions: dict[str, Action] = {}
        self._changing: set[str] = set()
        self._auditor = auditor

    def add(self, name: str, action: Action, *, changes: bool = False) -> None:
        """Let ``action`` be asked for.

        Args:
            name: in its address.
            action: carries it out.
            changes: it changes something: who asked and how it ended goes into the audit log, or it is not done.

        Raises:
            ValueError: the name is taken, or does not fit into an address.
        """
        if name in self._actions or not _NAME.fullmatch(name):
            raise ValueError(f"no second action, and none of that name: {name!r}")
        self._actions[name] = action
        if changes:
            self._changing.add(name)

    async def post(self, request: web.Request) -> web.Response:
        """Carry out what ``request`` asks for."""
        name = request.match_info["name"]
        action = self._actions.get(name)
        if action is None:
            known = ", ".join(sorted(self._actions)) or "none"
            return answer({"error": f"the agent has no action {name!r}; it has {known}"}, status=404)
        try:
            body = await request.read()
            arguments = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
            if name not in self._changing or self._auditor is None:
                return answer(await action(arguments))
            act, asker = f"agent.{name}", actor_of(request)
            return answer(await self._auditor.carry_out(act, asker, arguments, lambda: action(arguments)))
        except web.HTTPRequestEntityTooLarge:
            return answer({"error": f"more than {MAX_BODY_BYTES} bytes of arguments"}, status=413)
        except (msgspec.DecodeError, RecursionError, *NOT_HTTP) as exc:
            return answer({"error": f"the arguments are not a JSON object: {exc}"}, status=422)
        except EdgeAgentError as exc:
            return answer({"error": str(exc)}, status=422)


def answer(body: object, status: int = 200) -> web.Response:
    """Return ``body`` as JSON; what JSON has no word for is printed with ``str``."""
    text = msgspec.json.encode(body, enc_hook=str)
    return web.Response(body=text, status=status, content_type="application/json", charset="utf-8")


def text_of(arguments: Mapping[str, Any], name: str) -> str:
    """Return an argument that must be a text.

    Raises:
        EdgeAgentError: it is missing, or something else.
    """
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise EdgeAgentError(f"the argument {name} must be a text")
    return value
