"""A publisher: session after session with one of its brokers, for as long as the agent runs."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn

from edge_agent import __version__
from edge_agent.backoff import Backoff
from edge_agent.clock import Clock
from edge_agent.errors import (
    IdentifierError,
    OutboxError,
    PayloadRejectedError,
    PublishError,
)
from edge_agent.metrics import Metrics
from edge_agent.model import DeviceId
from edge_agent.publish import messages
from edge_agent.publish.delivery import Delivery
from edge_agent.publish.json_encoder import iso_time
from edge_agent.publish.messages import Message, Sender
from edge_agent.publish.mqtt import MqttSession
from edge_agent.publish.options import MqttOptions, ServerOptions
from edge_agent.publish.outgoing import Packer
from edge_agent.publish.ports import Codes, Outbox
from edge_agent.publish.refusals import Refusals
from edge_agent.publish.standing import Standing
from edge_agent.together import Together, together

FIRST_PAUSE_S = 1.0
FAREWELL_S = 2.0
STABLE_AFTER_S = 10.0
"""A session that was shorter does not shorten the next pause."""
_LONGEST_STEP_S = 5.0


class Publisher:
    """Sends what the outbox holds to one destination. A dead one delays nobody else.

    Attributes:
        tick_s: monotonic time of the last turn, or until when one step may take: proof of life.
    """

    def __init__(
        self,
        options: MqttOptions,
        outbox: Outbox,
        *,
        codes: Codes | None,
        health: Callable[[], dict[str, object]],
        clock: Clock,
        metrics: Metrics,
        random: Callable[[], float],
    ) -> None:
        self.id = options.id
        self.tick_s = clock.monotonic_s()
        self._options = options
        self._outbox = outbox
        self._codes = codes
        self._health = health
        self._clock = clock
        self._random = random
        self._standing = Standing(options, metrics, clock)
        self._refusals = Refusals(clock.monotonic_s)
        self._delivery: Delivery | None = None
        self._has_other_codes = asyncio.Event()

    async def run(self) -> None:
        """Hold sessions until cancelled, each attempt with the next server, after a pause with full jitter.

        A cancellation publishes the offline status, says DISCONNECT and leaves no socket or thread behind; what is
        unconfirmed is sent again after the next start.

        Raises:
            OutboxError: the outbox cannot be read.
        """
        backoff = Backoff(FIRST_PAUSE_S, self._options.retry_max_s, self._random)
        for server in itertools.cycle(self._options.servers):
            try:
                await self._hold_session(server, backoff)
            except OutboxError:
                raise
            except (PublishError, IdentifierError) as exc:
                self._standing.lost(str(exc))
            except Exception as exc:  # noqa: BLE001 - the supervisor of sessions: a bug costs one, not the agent
                self._standing.lost(f"{type(exc).__name__}: {exc}", bug=exc)
            await self._pause(backoff.next_s())

    def codes_changed(self) -> None:
        """There are other codes: send the directory again, now or with the next session."""
        self._has_other_codes.set()

    def summary(self) -> dict[str, object]:
        """Return what the status page shows: connected, server, since, in_flight, acknowledged …."""
        return self._standing.summary(self._delivery.in_flight if self._delivery is not None else 0)

    async def _hold_session(self, server: ServerOptions, backoff: Backoff) -> None:
        # Connecting has a time limit of its own: alive until then.
        self.tick_s = self._clock.monotonic_s() + self._options.connect_timeout_s
        began_ns = self._clock.now_ns()
        session = await MqttSession.connect(self._options, server, self._status(began_ns, None, is_online=False))
        connected_s = self._clock.monotonic_s()
        self._standing.connected(server)
        delivery = self._delivery = self._make_delivery(session)
        try:
            await self._serve(session, delivery, began_ns)
        except asyncio.CancelledError:
            await self._say_farewell(session)
            raise
        finally:
            session.abort()
            delivery.close()
            self._delivery = None
            self._standing.disconnected()
            if session.has_proved_itself and self._clock.monotonic_s() - connected_s >= STABLE_AFTER_S:
                backoff.reset()

    async def _serve(self, session: MqttSession, delivery: Delivery, began_ns: int) -> None:
        async with together(PublishError) as group:
            group.create_task(session.watch())
            group.create_task(self._speak(group, session, delivery, began_ns))
            await self._tick(delivery)

    async def _speak(self, group: Together, session: MqttSession, delivery: Delivery, began_ns: int) -> NoReturn:
        """Say who is there, let the rows flow, then tell of health from time to time."""
        options, codes = self._options, self._codes
        code = None
        if codes is not None:
            self._has_other_codes.clear()
            await codes.freeze()
            code = codes.gateway_code()
        await self._say(session, self._status(began_ns, code, is_online=True))
        if codes is not None:
            await self._say_codes(session, codes)
            group.create_task(self._keep_codes_told(session, codes))
        delivery.start(group)
        topic = self._topic(options.topics.health)
        while True:
            sender = Sender(options.gateway, self._outbox.epoch, code)
            t_ns = self._clock.now_ns()
            await self._say(session, messages.health(topic, sender, t_ns=t_ns, summary=self._health()))
            await self._clock.sleep(options.health_interval_s)

    async def _keep_codes_told(self, session: MqttSession, codes: Codes) -> NoReturn:
        while True:
            await self._has_other_codes.wait()
            self._has_other_codes.clear()
            await codes.freeze()
            await self._say_codes(session, codes)

    async def _say_codes(self, session: MqttSession, codes: Codes) -> None:
        body = codes.directory(iso_time(self._clock.now_ns() // 1000))
        await self._say(session, messages.directory(self._topic(self._options.topics.directory), body))

    async def _say(self, session: MqttSession, message: Message) -> None:
        try:
            await session.publish(message)
        except PayloadRejectedError as exc:
            self._standing.refused(message.topic, str(exc))

    async def _say_farewell(self, session: MqttSession) -> None:
        """Be polite for a short time: the offline status, then DISCONNECT."""
        code = None if self._codes is None else self._codes.gateway_code()
        with suppress(TimeoutError, PublishError):
            async with asyncio.timeout(FAREWELL_S):
                await session.publish(self._status(self._clock.now_ns(), code, is_online=False))
                await session.close()

    async def _tick(self, delivery: Delivery) -> NoReturn:
        while True:
            self.tick_s = self._clock.monotonic_s()
            delivery.tick()
            await self._clock.sleep(1.0)

    async def _pause(self, seconds: float) -> None:
        while seconds > 0:
            self.tick_s = self._clock.monotonic_s()
            step_s = min(seconds, _LONGEST_STEP_S)
            await self._clock.sleep(step_s)
            seconds -= step_s

    def _make_delivery(self, session: MqttSession) -> Delivery:
        options = self._options

        def topic(template: str, device: DeviceId) -> str:
            return template.format(gateway=options.gateway, device=device)

        packer = Packer(
            options.gateway,
            partial(topic, options.topics.data),
            partial(topic, options.topics.gap),
            (lambda _device: None) if self._codes is None else self._codes.device_code,
            lambda topic: min(options.message_bytes, session.payload_limit_bytes(topic)),
        )
        return Delivery(
            options,
            session,
            packer,
            self._outbox.begin,
            self._standing,
            self._refusals,
            clock=self._clock,
            random=self._random,
        )

    def _status(self, t_ns: int, code: str | None, *, is_online: bool) -> Message:
        topic = self._topic(self._options.topics.status)
        sender = Sender(self._options.gateway, self._outbox.epoch, code)
        return messages.status(topic, sender, is_online=is_online, t_ns=t_ns, version=__version__)

    def _topic(self, template: str) -> str:
        return template.format(gateway=self._options.gateway)
