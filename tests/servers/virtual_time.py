"""An event loop whose time passes at once: whoever would wait for a timer is there already.

For code that neither reads nor writes files and sockets. Runs of it are the same every time.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from edge_agent.clock import Anchor
from edge_agent.testing.fakes import START_NS

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0 s and is set forward to the next timer whenever nothing else is left to do."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Selector(self._pass))

    def time(self) -> float:
        return self._now_s

    def _pass(self, seconds: float) -> None:
        self._now_s += seconds


class _Selector(selectors.SelectSelector):
    def __init__(self, pass_: Callable[[float], None]) -> None:
        super().__init__()
        self._pass = pass_

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("everybody waits for something that no timer brings")
            self._pass(timeout)
        return events


class VirtualClock:
    """The time of the running ``VirtualLoop``."""

    def now_ns(self) -> int:
        return START_NS + round(self.monotonic_s() * 1e9)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def anchor_of(self, _time_ns: int) -> Anchor | None:
        return None

    @property
    def synced(self) -> Anchor | None:
        return None


def run_at_once(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` in a loop of its own whose time passes at once."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
