"""Delivery: within one session, lease rows, send them, and confirm what the broker took.

The window is shared by a simple rule: the backlog may use its share of it, live rows the rest, and each takes
turns by single messages. So fresh rows never wait behind the backlog for more than its share of a window, and a
backlog drains however much is live. With a window of one they alternate. Where everything is wanted in order, live
rows wait until the whole backlog is sent.

A refused message (PUBACK with a reason from 0x80) is not delivered. The first one of a topic is kept and tried
again, after pauses that grow; until it goes through, the topic's other rows are left in the outbox and other
topics go on. What was left is then leased again with a new cursor. A message that is refused for what it is goes
row by row after a while; a row that fails alone, again and again over some minutes, is set aside as a dead letter,
and the topic goes on. So is a row that is larger than anything the broker takes. Nothing is dropped.
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
from edge_agent.publish.options import MqttOptions, ReplayOptions
from edge_agent.publish.outgoing import Outgoing, Packer
from edge_agent.publish.ports import Cursor
from edge_agent.publish.refusals import Refusals
from edge_agent.publish.replay import Pace, start_pause_s
from edge_agent.publish.standing import Standing
from edge_agent.together import Together

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
        refusals: Refusals,
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._options = options
        self._session = session
        self._packer = packer
        self._begin = begin
        self._standing = standing
        self._refusals = refusals
        self._clock = clock
        self._retry_pause = Backoff(FIRST_RETRY_S, options.retry_max_s, random, floor_s=FIRST_RETRY_S / 2)
        self._wake = asyncio.Event()
        self._in_flight: dict[int, tuple[Outgoing, asyncio.Future[str] | None]] = {}
        self._shares = _shares(session.window, options.replay)
        self._refused: dict[str, list[Outgoing]] = {}
        """By topic, what is tried again."""
        self._has_refused = asyncio.Event()
        self._left: set[str] = set()
        """Topics of which rows were leased and not sent, because the topic is refused."""
        self._new_cursor()
        pause_s = start_pause_s(self._cursor.replay_readings, random)
        self._pace = Pace(options.replay.rate, clock.monotonic_s() + pause_s)
        self._is_paced = asyncio.Event()
        session.on_acknowledged = self._on_acknowledged

    @property
    def in_flight(self) -> int:
        """Messages that the broker has not answered."""
        return len(self._in_flight)

    def start(self, group: Together) -> None:
        """Begin to deliver, in tasks of ``group``."""
        group.create_task(self._deliver())
        group.create_task(self._try_again())
        group.create_task(self._watch_pace())

    def tick(self) -> None:
        """Look again at what waits for time to pass; call it every second."""
        self._standing.replaying(self._cursor.replay_readings)
        self._wake.set()

    def close(self) -> None:
        """End: what is unconfirmed is leased again by the next session."""
        self._cursor.close()

    def _new_cursor(self) -> None:
        self._cursor = self._begin(self._options.id)
        self._leased: dict[Stream, Iterator[Outgoing]] = {stream: iter(()) for stream in Stream}
        self._is_empty = {stream: asyncio.Event() for stream in Stream}
        self._busy = dict.fromkeys(Stream, 0)
        self._skip_until_s = dict.fromkeys(Stream, 0.0)
        self._renew = False

    async def _deliver(self) -> NoReturn:
        while True:
            async with asyncio.TaskGroup() as group:
                watchers = [group.create_task(self._watch_outbox(self._cursor, stream)) for stream in Stream]
                await self._pump()
                for watcher in watchers:
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
            elif await self._take_turns():
                continue
            await self._wake.wait()

    async def _take_turns(self) -> bool:
        """Send at most one message of each stream; return whether any was."""
        if not self._options.replay.in_order:
            return _Turn.SENT in [await self._turn(Stream.LIVE), await self._turn(Stream.REPLAY)]
        backlog = await self._turn(Stream.REPLAY)
        return backlog is _Turn.SENT or (backlog is _Turn.EMPTY and await self._turn(Stream.LIVE) is _Turn.SENT)

    async def _turn(self, stream: Stream) -> _Turn:
        """Send at most one message of a stream."""
        now_s = self._clock.monotonic_s()
        if self._busy[stream] >= self._shares[stream] or now_s < self._skip_until_s[stream]:
            return _Turn.HELD
        if stream is Stream.REPLAY and self._pace.wait_s(now_s) > 0:
            self._is_paced.set()
            return _Turn.HELD
        if await self._send_next(stream):
            return _Turn.SENT
        rows = await self._cursor.lease(stream, max_rows=LEASE_ROWS, max_bytes=4 * self._options.message_bytes)
        if not rows:
            self._is_empty[stream].set()
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
            # One row is more than this broker takes.
            self._standing.refused(outgoing.message.topic, str(exc))
            self._set_aside(outgoing, str(exc))
            if outcome is not None:
                outcome.set_result("")
            return
        self._in_flight[packet_id] = (outgoing, outcome)
        self._busy[outgoing.stream] += outcome is None
        if outgoing.stream is Stream.REPLAY:
            self._pace.spend(outgoing.readings, self._clock.monotonic_s())
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
            self._refusals.note(outgoing, acknowledgement.reason_code)
        else:
            self._refusals.forget(outgoing.row_ids)
            self._cursor.confirm(outgoing.row_ids)
            self._standing.accepted(outgoing, acknowledgement.waited_s)
        if outcome is not None:
            outcome.set_result(refusal)
        else:
            self._busy[outgoing.stream] -= 1
            if refusal and topic in self._refused:
                self._left.add(topic)
            elif refusal:
                self._refused[topic] = [outgoing]
                self._has_refused.set()
        self._wake.set()

    async def _watch_outbox(self, cursor: Cursor, stream: Stream) -> NoReturn:
        """Wake the pump for new rows of a stream that was empty."""
        is_empty = self._is_empty[stream]
        while True:
            await is_empty.wait()
            await cursor.wait([stream])
            is_empty.clear()
            self._wake.set()

    async def _watch_pace(self) -> NoReturn:
        """Wake the pump when the backlog may go on."""
        while True:
            await self._is_paced.wait()
            await self._clock.sleep(self._pace.wait_s(self._clock.monotonic_s()))
            self._is_paced.clear()
            self._wake.set()

    async def _try_again(self) -> NoReturn:
        while True:
            await self._has_refused.wait()
            await self._clock.sleep(self._retry_pause.next_s())
            for topic in list(self._refused):
                left = await self._send_again(self._refused[topic])
                if left:
                    self._refused[topic] = left
                    continue
                del self._refused[topic]
                self._retry_pause.reset()
                self._renew |= topic in self._left
                self._wake.set()
            if not self._refused:
                self._has_refused.clear()
                self._standing.refusals_over()

    async def _send_again(self, refused: list[Outgoing]) -> list[Outgoing]:
        """Send each message, row by row where that may help; return those that are refused again."""
        left = []
        for whole in refused:
            parts = [whole]
            if self._refusals.should_split(whole):
                parts = [part for row in whole.rows for part in self._packer.pack(whole.stream, [row])]
            for outgoing in parts:
                outcome = asyncio.get_running_loop().create_future()
                await self._send(outgoing, outcome)
                refusal = await outcome
                if refusal and self._refusals.is_hopeless(outgoing):
                    self._set_aside(outgoing, refusal)
                elif refusal:
                    left.append(outgoing)
        return left

    def _set_aside(self, outgoing: Outgoing, reason: str) -> None:
        self._cursor.set_aside(outgoing.row_ids, reason)
        self._refusals.forget(outgoing.row_ids)
        self._standing.set_aside(outgoing, reason)


def _shares(window: int, replay: ReplayOptions) -> dict[Stream, int]:
    """Return how many messages of each stream may be in flight, at least one."""
    if replay.in_order:
        return dict.fromkeys(Stream, window)
    backlog = min(max(1, round(window * replay.share)), max(1, window - 1))
    return {Stream.LIVE: max(1, window - backlog), Stream.REPLAY: backlog}
