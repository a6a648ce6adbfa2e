"""The lines of the running agent, as a prober borrows them: over the control socket, without blocking the loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from edge_agent.cli.control import NoAgentError
from edge_agent.errors import EdgeAgentError
from edge_agent.probing import HeldLine

_ANSWER_S = 10.0

Act = Callable[[str, Mapping[str, object], float | None], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def agent_lines(path: Path, protocol: str) -> AsyncIterator[tuple[HeldLine, ...]]:
    """Give the lines of the agent behind the control socket at ``path``; none if no agent answers there.

    Raises:
        EdgeAgentError: the socket is not for this user, or the agent says what is wrong.
    """
    connector = aiohttp.UnixConnector(str(path), limit=1)
    async with aiohttp.ClientSession(connector=connector) as client:
        act = partial(_act, client, path)
        try:
            told = await act("lines", {}, _ANSWER_S)
        except NoAgentError:
            yield ()
            return
        yield tuple(
            HeldLine(line["line"], tuple(line["devices"]), line["reach"], partial(_exchange, act, line["line"]))
            for line in told["lines"]
            if line["driver"] == protocol
        )


async def _exchange(act: Act, key: str, request: Mapping[str, object], timeout_s: float) -> Mapping[str, Any]:
    # Without a limit of its own: the agent's devices may have many turns before this one.
    answer = await act("line-exchange", {"line": key, "request": request, "timeout_s": timeout_s}, None)
    if "silent" in answer:
        raise TimeoutError
    return answer


async def _act(
    client: aiohttp.ClientSession,
    path: Path,
    name: str,
    arguments: Mapping[str, object],
    timeout_s: float | None,
) -> dict[str, Any]:
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.post(
                f"http://agent/actions/{name}", json=arguments, timeout=aiohttp.ClientTimeout(total=None)
            ) as response,
        ):
            answer: dict[str, Any] = await response.json()
            status = response.status
    except PermissionError as exc:
        raise EdgeAgentError(f"{path}: not allowed; use sudo, or join the group that owns the socket") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:  # a time-out is an OSError
        if isinstance(exc, aiohttp.ClientConnectorError) and isinstance(exc.os_error, PermissionError):
            raise EdgeAgentError(f"{path}: not allowed; use sudo, or join the group that owns the socket") from exc
        raise NoAgentError(f"no agent answers at {path} ({exc}); is it running? see --socket") from exc
    if status >= 400:  # noqa: PLR2004 - RFC 9110 §15.5
        raise EdgeAgentError(answer["error"])
    return answer
