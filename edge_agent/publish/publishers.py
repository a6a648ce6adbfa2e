"""The publishers of one agent: each is started, stopped and replaced by itself while the others go on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from edge_agent.clock import Clock
from edge_agent.metrics import Metrics
from edge_agent.model import PublisherId
from edge_agent.publish.options import MqttOptions
from edge_agent.publish.ports import Codes, Outbox
from edge_agent.publish.publisher import Publisher


@dataclass(frozen=True, slots=True)
class _Member:
    publisher: Publisher
    task: asyncio.Task[None]


class Publishers(Mapping[PublisherId, Publisher]):
    """The publishers that run, by id, in the order in which they were started.

    Args:
        outbox: where rows come from.
        health: the summary that each sends from time to time.
        random: source of jitter, floats in [0, 1).
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        health: Callable[[], dict[str, object]],
        clock: Clock,
        metrics: Metrics,
        random: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._health = health
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._members: dict[PublisherId, _Member] = {}
        self._group: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the tasks of the publishers; on leaving they say goodbye and are stopped.

        Raises:
            ExceptionGroup: of OutboxError: the outbox cannot be read.
        """
        async with asyncio.TaskGroup() as self._group:
            yield

    def start(self, publishers: Iterable[MqttOptions], codes: Codes | None) -> None:
        """Publish to ``publishers`` from now on. None of them may be here; call it within ``running``."""
        for options in publishers:
            if self._group is None or options.id in self._members:
                raise RuntimeError(f"{options.id} cannot be started now")
            publisher = Publisher(
                options,
                self._outbox,
                codes=codes,
                health=self._health,
                clock=self._clock,
                metrics=self._metrics,
                random=self._random,
            )
            task = self._group.create_task(publisher.run(), name=f"publisher:{options.id}")
            self._members[options.id] = _Member(publisher, task)

    async def stop(self, publishers: Collection[PublisherId]) -> None:
        """Stop ``publishers`` and return when their sessions are over; what is unconfirmed waits in the outbox.

        A cancelled call has asked all of them to stop; those that still say goodbye stay here.
        """
        members = [self._members[publisher] for publisher in publishers]
        for member in members:
            member.task.cancel()
        if members:
            await asyncio.wait([member.task for member in members])
        for member in members:
            self._members.pop(member.publisher.id, None)

    def forget(self, publisher: PublisherId) -> None:
        """A stopped publisher is configured no longer: the metrics show it no more."""
        self._metrics.forget("publisher", publisher)

    def __getitem__(self, publisher: PublisherId) -> Publisher:
        return self._members[publisher].publisher

    def __iter__(self) -> Iterator[PublisherId]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)
