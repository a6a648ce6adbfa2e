"""Delivery: within one session, lease rows, send them, and confirm what the broker took.

The window is shared by a simple rule: live rows may use one half of it, the backlog the other, and each takes
turns by single messages. So fresh rows never wait behind the backlog for more than a half window, and a backlog
drains however much is live. With a window of one they alternate.

A refused message (PUBACK with a reason from 0x80) is not delivered. The first one of a topic is kept and tried
again, after pauses that grow; until it goes through, the topic's other rows are left in the outbox and other
topics go on. What was left is then leased again with a new cursor. Nothing is dropped.
"""

import asyncio
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import NoReturn

from edge_agent.backoff import Backoff
from edge_agent.clock import Clock
from edge_agent.errors import PayloadRejectedError
from edge_agent.model import PublisherId
from edge_agent.outbox.rows import Stream
from edge_agent.publish.mqtt import Acknowledgement, MqttSession
from edge_agent.publish.options import MqttOptions
from edge_agent.publish.outgoing import Outgoing, Packer
from edge_agent.publish.ports import Cursor
from edge_agent.publish.standing import Standing

LEASE_ROWS = 500
FIRST_RETRY_S = 1.0
SKIP_PAUSE_S = 1.0
"""After a lease in which every topic is refused: so that skipping a long backlog costs next to nothing."""


class _Turn(Enum):
    SENT = auto()
    EMPTY = auto()
    HELD = auto()


class Delivery:
    """The rows of one session. ``start`` puts its tasks into a group; ``close`` gives back what is unconfirmed."""

    def __init__(
        self,
        options: MqttOptions,
        session: MqttSession,
        packer: Packer,
        begin: Callable[[PublisherId], Cursor],
        standing: Standing,
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._options = options
        self._session = session
        self._packer = packer
        self._begin = begin
        self._standing = standing
        self._clock = clock
        self._retry_pause = Backoff(FIRST_RETRY_S, options.retry_max_s, random, floor_s=FIRST_RETRY_S / 2)
        self._wake = asyncio.Event()
        self._live_is_empty = asyncio.Event()
        self._in_flight: dict[int, tuple[Outgoing, asyncio.Future[str] | None]] = {}
        half = session.window // 2
        self._shares = {Stream.LIVE: session.window - half, Stream.REPLAY: max(1, half)}
        self._refused: dict[str, Outgoing] = {}
        self._has_refused = asyncio.Event()
        self._left: set[str] = set()
        """Topics of which rows were leased and not sent, because the topic is refused."""
        self._new_cursor()
        session.on_acknowledged = self._on_acknowledged

    @property
    def in_flight(self) -> int:
        """Messages that the broker has not answered."""
        return len(self._in_flight)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to deliver, in tasks of ``group``."""
        group.create_task(self._deliver())
        group.create_task(self._try_again())

    def tick(self) -> None:
        """Look again at what waits for time to pass; call it every second."""
        self._wake.set()

    def close(self) -> None:
        """End: what is unconfirmed is leased again by the next session."""
        self._cursor.close()

    def _new_cursor(self) -> None:
        self._cursor = self._begin(self._options.id)
        self._leased: dict[Stream, Iterator[Outgoing]] = {stream: iter(()) for stream in Stream}
        self._busy = dict.fromkeys(Stream, 0)
        self._skip_until_s = dict.fromkeys(Stream, 0.0)
        self._renew = False

    async def _deliver(self) -> NoReturn:
        while True:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch_outbox(self._cursor))
                await self._pump()
                watcher.cancel()
            self._left.clear()
            self._cursor.close()
            self._new_cursor()

    async def _pump(self) -> None:
        """Give each stream its turns, until a new cursor is wanted and nothing is in flight."""
        while True:
            self._wake.clear()
            if self._renew:
                if not any(self._busy.values()):
                    return
            else:
                turns = [await self._turn(stream) for stream in Stream]
                if _Turn.SENT in turns:
                    continue
                if turns[0] is _Turn.EMPTY:
                    self._live_is_empty.set()
            await self._wake.wait()

    async def _turn(self, stream: Stream) -> _Turn:
        """Send at most one message of a stream."""
        now_s = self._clock.monotonic_s()
        if self._busy[stream] >= self._shares[stream] or now_s < self._skip_until_s[stream]:
            return _Turn.HELD
        if await self._send_next(stream):
            return _Turn.SENT
        rows = await self._cursor.lease(stream, max_rows=LEASE_ROWS, max_bytes=4 * self._options.message_bytes)
        if not rows:
            return _Turn.EMPTY
        self._leased[stream] = self._packer.pack(stream, rows)
        if await self._send_next(stream):
            return _Turn.SENT
        self._skip_until_s[stream] = now_s + SKIP_PAUSE_S
        return _Turn.HELD

    async def _send_next(self, stream: Stream) -> bool:
        for outgoing in self._leased[stream]:
            if outgoing.message.topic in self._refused:
                self._left.add(outgoing.message.topic)
                continue
            await self._send(outgoing, None)
            return True
        return False

    async def _send(self, outgoing: Outgoing, outcome: "asyncio.Future[str] | None") -> None:
        try:
            packet_id = await self._session.publish(outgoing.message)
        except PayloadRejectedError as exc:
            # One row is more than this broker takes: it stays in the outbox.
            self._standing.refused(outgoing.message.topic, str(exc))
            return
        self._in_flight[packet_id] = (outgoing, outcome)
        self._busy[outgoing.stream] += outcome is None
        self._standing.sent(outgoing)

    def _on_acknowledged(self, acknowledgement: Acknowledgement) -> None:
        refusal = acknowledgement.refusal
        self._standing.proved()
        outgoing, outcome = self._in_flight.pop(acknowledgement.packet_id, (None, None))
        if outgoing is None:
            if refusal:
                self._standing.refused("status, directory or health", refusal)
            return
        topic = outgoing.message.topic
        if refusal:
            self._standing.refused(topic, refusal)
        else:
            self._cursor.confirm(outgoing.row_ids)
            self._standing.accepted(outgoing, acknowledgement.waited_s)
        if outcome is not None:
            outcome.set_result(refusal)
        else:
            self._busy[outgoing.stream] -= 1
            if refusal and topic in self._refused:
                self._left.add(topic)
            elif refusal:
                self._refused[topic] = outgoing
                self._has_refused.set()
        self._wake.set()

    async def _watch_outbox(self, cursor: Cursor) -> None:
        """Wake the pump for live rows; the backlog is what it was when the cursor began, and only shrinks."""
        while True:
            await self._live_is_empty.wait()
            await cursor.wait([Stream.LIVE])
            self._live_is_empty.clear()
            self._wake.set()

    async def _try_again(self) -> NoReturn:
        while True:
            await self._has_refused.wait()
            await self._clock.sleep(self._retry_pause.next_s())
            for topic, outgoing in list(self._refused.items()):
                outcome = asyncio.get_running_loop().create_future()
                await self._send(outgoing, outcome)
                if await outcome:
                    continue
                del self._refused[topic]
                self._retry_pause.reset()
                self._renew |= topic in self._left
                self._wake.set()
            if not self._refused:
                self._has_refused.clear()
                self._standing.refusals_over()
