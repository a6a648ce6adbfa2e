"""What a session makes up for of the time before it: history is fetched, the loss of the rest is told."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.driver import Emit
from edge_agent.errors import ExchangeError
from edge_agent.model import Column, DeviceId, LossReason, Lost, ReadingBatch
from edge_agent_opcua.history import History
from edge_agent_opcua.resumption import Past, Resumption


class Outage:
    """The time between the session before and this one.

    Args:
        past: what the session before left.
        history: None: nothing is fetched.
        resumption: told of the points whose first readings are no changes.

    Attributes:
        nodes: by point, of the variables of which the server may have kept what is missing.
        is_heard: set it once what the server has to say first is told, so that nothing of it is fetched, too.
    """

    def __init__(self, device: DeviceId, past: Past, history: History | None, resumption: Resumption) -> None:
        self.nodes: Mapping[int, Any] = {}
        self.is_heard = asyncio.Event()
        self._device = device
        self._past = past
        self._history = history
        self._resumption = resumption
        self._asked_ns = self._ahead_ns = 0
        self._silent: set[int] = set()  # of ``nodes``: what they are now is not told yet
        self._began_ns: dict[int, int] = {}  # source time of what they are now

    async def tell(
        self, points: Sequence[int], variables: Mapping[int, Any], asked_ns: int, ahead_ns: int, emit: Emit
    ) -> None:
        """Say that changes since the session before may be missing, and see what can be fetched.

        Args:
            points: all that are reported.
            variables: those of them that are no events, with their nodes, None where there is none.
            asked_ns: when this session asked for them.
            ahead_ns: by how much the server's clock is ahead of ours.
            emit: takes the loss.
        """
        past, self._asked_ns, self._ahead_ns = self._past, asked_ns, ahead_ns
        if past.heard_ns and points:
            self._resumption.expect(variables, past.heard_ns, asked_ns, ahead_ns)
            self.nodes = await self._kept(variables)
            since_ns = past.doubtful_ns or past.complete_ns
            await self._lost([point for point in points if point not in self.nodes], since_ns, emit)
        self._silent = set(self.nodes)
        if self.nodes:
            past.hole_ns = past.hole_ns or past.heard_ns
            past.doubtful_ns = past.doubtful_ns or past.complete_ns
            past.delivered.hold(asked_ns)
        else:
            self._settle()
        past.heard_ns = past.complete_ns = asked_ns

    def resume(self, time_ns: int, columns: tuple[Column, ...]) -> None:
        """Take note of what the server says first of each point: what is to be fetched goes on until there.

        The time of asking alone may be too early: the server's clock is known no better than it is told, by some
        servers once a second.

        Args:
            time_ns: of the batch.
            columns: as decoded.
        """
        if not self._silent:
            return
        for column in columns:
            for position, point in enumerate(column.points):
                if point in self._silent:
                    at_ns = time_ns + (column.offsets_ns[position] if column.offsets_ns else 0)
                    self._began_ns[point] = min(at_ns, self._began_ns.get(point, at_ns))
        self._silent -= self._began_ns.keys()

    def note(self, time_ns: int, columns: tuple[Column, ...]) -> None:
        """Readings were told, which are not to be fetched."""
        if self._history is not None:
            self._past.delivered.note(time_ns, columns)

    async def fetch(self, emit: Emit) -> None:
        """Report what the server kept, marked as historical.

        Raises:
            DeviceUnavailableError: the session is dead; the next one goes on.
        """
        await self.is_heard.wait()
        past = self._past
        if self._history is not None and self.nodes:
            from_ns = max(past.hole_ns - past.delivered.window_ns + self._ahead_ns, past.settled_ns)
            asked_ns = self._asked_ns + self._ahead_ns
            to_ns = {point: max(asked_ns, self._began_ns.get(point, 0)) for point in self.nodes}
            refused = await self._history.fetch(self.nodes, from_ns, to_ns, emit)
            await self._lost(sorted(refused), past.doubtful_ns, emit)
            self._settle()

    async def _kept(self, variables: Mapping[int, Any]) -> Mapping[int, Any]:
        nodes = {point: node_id for point, node_id in variables.items() if node_id is not None}
        if self._history is None or not nodes:
            return {}
        try:
            kept = await self._history.kept(nodes)
        except ExchangeError:
            return {}
        return {point: nodes[point] for point in sorted(kept)}

    async def _lost(self, points: Sequence[int], since_ns: int, emit: Emit) -> None:
        if points:
            told = Lost(tuple(points), since_ns, self._asked_ns, LossReason.OUTAGE)
            await emit(ReadingBatch(self._device, self._asked_ns, (), lost=(told,)))

    def _settle(self) -> None:
        """Nothing is to be fetched of the time before this session."""
        self._past.hole_ns = self._past.doubtful_ns = 0
        self._past.settled_ns = self._asked_ns + self._ahead_ns
        self._past.delivered.release()
