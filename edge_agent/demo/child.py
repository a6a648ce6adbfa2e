"""Processes of the demo: how the parent starts one, and how one announces itself and notices that it is over.

A child prints one line of JSON when it is ready and ends when its standard input closes, so that none
outlives the parent, however that ends.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from edge_agent.errors import EdgeAgentError

_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 5.0


class ChildError(EdgeAgentError):
    """A process of the demo did not start, or ended before its time; carries the end of its log."""


def announce(message: Mapping[str, object]) -> None:
    """Child: tell the parent, in one line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def parent_gone() -> None:
    """Child: return when standard input closes. Cancellation leaves the pipe attached to the loop."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


class Child:
    """A running child, seen by the parent."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self._name = name
        self._process = process
        self._log = log

    async def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            ChildError: the process ended.

        A cancelled call may lose the message it was waiting for.
        """
        assert self._process.stdout is not None  # noqa: S101 - PIPE
        line = await self._process.stdout.readline()
        if not line:
            code = await self._process.wait()
            log = await asyncio.to_thread(self._log.read_text, "utf-8", "replace")
            raise ChildError(f"the demo's {self._name} ended with code {code}: {log.strip()[-2000:]}")
        message: dict[str, Any] = json.loads(line)
        return message

    async def ask(self) -> dict[str, Any]:
        """Send an empty line and return the answer; errors and cancellation as for ``receive``."""
        assert self._process.stdin is not None  # noqa: S101 - PIPE
        with suppress(ConnectionError):  # receive() tells why
            self._process.stdin.write(b"\n")
            await self._process.stdin.drain()
        return await self.receive()

    async def end(self) -> None:
        """Close standard input and wait for the end; kill after five seconds. Silent when called twice."""
        assert self._process.stdin is not None  # noqa: S101 - PIPE
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()
        except asyncio.CancelledError:
            self._kill()
            raise

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()


@asynccontextmanager
async def child(name: str, *arguments: str, directory: Path) -> AsyncIterator[tuple[Child, dict[str, Any]]]:
    """Run ``python -m edge_agent.demo.<name>``; gives the child and what it announced.

    Its standard error goes to ``<name>.log`` in ``directory``. A session of its own keeps Ctrl-C away from it.

    Raises:
        ChildError: it did not announce itself within 30 s.
    """
    log = directory / f"{name}.log"
    with await asyncio.to_thread(log.open, "wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"edge_agent.demo.{name}", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    started = Child(name, process, log)
    try:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                announced = await started.receive()
        except TimeoutError:
            raise ChildError(f"the demo's {name} was not ready within {_START_TIMEOUT_S:g} s") from None
        yield started, announced
    finally:
        await started.end()
