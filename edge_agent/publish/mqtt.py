"""One session with an MQTT broker. The only module that knows paho.

A session has a paho client of its own, driven by the event loop (no thread): the loop calls it when the socket
is readable or writable. Whatever goes wrong in there, a callback that raises included, ends the session and
comes out of ``watch``. paho neither connects again nor queues: both are done above it (docs/adr/0004-mqtt.md).
"""

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from paho.mqtt.client import Client, DisconnectFlags, error_string
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.errors import BrokerUnavailableError, PayloadRejectedError
from edge_agent.publish.messages import Message
from edge_agent.publish.options import MqttOptions, ServerOptions
from edge_agent.publish.transport import open_socket

SILENCE_LIMIT = 1.5
"""Keep-alives without a byte from the broker that end the session; paho asks (PINGREQ) after one."""
INBOUND_LIMIT_BYTES = 64 * 1024
"""Nothing that a publisher is sent is larger; the broker is told so (MQTT 5 §3.1.2.11.4)."""
LARGEST_PACKET_BYTES = 268_435_455
_FIRST_REFUSAL = 0x80

_HINTS = {
    0x84: "the broker does not speak this version of MQTT; set version",
    0x85: "the broker does not take this client_id",
    0x86: "check username and password",
    0x87: "these credentials may not connect; check the account and the broker's access rules",
    0x8A: "the broker has banned this client",
    0x95: "the will is larger than the broker takes",
    0x9A: "the broker keeps no retained messages, and the will is one",
    0x9B: "the broker does not take QoS 1",
    0x9C: "the broker names another server; check servers",
    0x9D: "the broker has moved; check servers",
}
"""What to check for a refused CONNACK, by MQTT 5 reason code (§3.2.2.2); paho maps the codes of 3.1.1 to them."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A PUBACK.

    Attributes:
        refusal: empty if the broker took the message; otherwise its reason (MQTT 5 §3.4.2.1, codes from 0x80).
        waited_s: since publishing.
        reason_code: of the PUBACK, 0 where there is none.
    """

    packet_id: int
    refusal: str
    waited_s: float
    reason_code: int = 0


class MqttSession:
    """One connection to one broker, from CONNECT to its end; never used again after that.

    Attributes:
        window: messages that may be unacknowledged: ``max_in_flight``, or the broker's Receive Maximum if smaller.
        on_acknowledged: called on the loop for each PUBACK.
    """

    def __init__(self, options: MqttOptions, server: ServerOptions, sock: socket.socket) -> None:
        self.server = server
        self.window = options.max_in_flight
        self.on_acknowledged: Callable[[Acknowledgement], None] = lambda _acknowledgement: None
        self._options = options
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._answered = asyncio.Event()
        self._ended = asyncio.Event()
        self._failure: Exception = BrokerUnavailableError("the session has ended")
        self._heard_s = self._acknowledged_s = self._loop.time()
        self._awaited: dict[int, float] = {}
        self._slots = asyncio.Semaphore(self.window)
        self._packet_limit_bytes = LARGEST_PACKET_BYTES
        self._may_retain = True
        self._proved = False
        self._last_error = _LastError()
        self._client = self._make_client()

    @classmethod
    async def connect(cls, options: MqttOptions, server: ServerOptions, will: Message) -> Self:
        """Connect within ``connect_timeout_s``; a failure or cancellation leaves no socket behind.

        Raises:
            BrokerUnavailableError: not reached, or refused; says why and what to check.
        """
        silence = "does not answer: check the address, the network and the firewall"
        try:
            async with asyncio.timeout(options.connect_timeout_s):
                sock = await open_socket(server, options.tls, timeout_s=options.connect_timeout_s)
                silence = "takes connections but does not answer CONNECT: is it an MQTT broker?"
                session = cls(options, server, sock)
                try:
                    await session._introduce(will)
                except BaseException:
                    session.abort()
                    raise
                return session
        except TimeoutError as exc:
            raise BrokerUnavailableError(f"{server.host}:{server.port} {silence}") from exc

    async def publish(self, message: Message) -> int:
        """Hand over one message with QoS 1, waiting while ``window`` messages are unacknowledged; return its id.

        A cancellation leaves the message unsent.

        Raises:
            PayloadRejectedError: larger than the broker takes.
            BrokerUnavailableError: the session has ended.
        """
        if len(message.payload) > self.payload_limit_bytes(message.topic):
            raise PayloadRejectedError(
                f"{len(message.payload)} bytes for {message.topic} are more than the broker takes"
            )
        await self._slots.acquire()
        if self._ended.is_set():
            raise self._failure
        retain = message.retain and self._may_retain
        info = self._client.publish(message.topic, message.payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerUnavailableError(f"cannot publish: {error_string(info.rc)}")
        self._awaited[info.mid] = self._loop.time()
        return info.mid

    def payload_limit_bytes(self, topic: str) -> int:
        """Return how large a payload for ``topic`` may be: what the broker's Maximum Packet Size leaves."""
        # MQTT 5 §3.3: fixed header 1 + at most 4, topic length 2, packet id 2, properties length 1.
        return self._packet_limit_bytes - 10 - len(topic.encode())

    @property
    def has_proved_itself(self) -> bool:
        """Whether the broker has acknowledged anything: it does more than to take connections."""
        return self._proved

    async def watch(self) -> NoReturn:
        """Keep the session alive until it ends; then raise why.

        It ends when the connection is lost or closed, when nothing came for ``SILENCE_LIMIT`` keep-alives, or
        when no PUBACK came for ``acknowledge_timeout_s`` while one was awaited. A cancellation leaves the session
        as it is.
        """
        tick_s = min(1.0, self._options.keep_alive_s / 10, self._options.acknowledge_timeout_s / 4)
        while not self._ended.is_set():
            self._guard(self._client.loop_misc)
            self._check_liveness()
            with suppress(TimeoutError):
                async with asyncio.timeout(tick_s):
                    await self._ended.wait()
        raise self._failure

    async def close(self) -> None:
        """Wait for what is unacknowledged, then DISCONNECT, so that the broker drops the will.

        A cancellation aborts instead; so does the end of the session meanwhile.
        """
        try:
            for _ in range(self.window):
                await self._slots.acquire()
            if not self._ended.is_set():
                self._guard(self._client.disconnect)
                await self._ended.wait()
        finally:
            self.abort()

    def abort(self) -> None:
        """End at once, without DISCONNECT: the broker publishes the will. Silent if it has ended."""
        self._end(self._failure)
        client = self._client
        client.on_socket_close = client.on_socket_register_write = client.on_socket_unregister_write = None
        descriptor = self._sock.fileno()
        if descriptor >= 0:
            self._forget_descriptor()
            # A reset, so that neither side keeps half a connection with data in it (RFC 9293 §3.6).
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._sock.close()

    async def _introduce(self, will: Message) -> None:
        client, options = self._client, self._options
        self._loop.add_reader(self._sock.fileno(), self._readable)
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        keep_alive_s = max(1, round(options.keep_alive_s))
        if options.protocol_version == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = INBOUND_LIMIT_BYTES
            client.connect(
                self.server.host, self.server.port, keep_alive_s, clean_start=True, properties=properties
            )
        else:
            client.connect(self.server.host, self.server.port, keep_alive_s)
        await self._answered.wait()
        if self._ended.is_set():
            raise self._failure

    def _make_client(self) -> "_Client":
        options = self._options
        version = MQTTProtocolVersion(options.protocol_version)
        client = _Client(
            self._sock,
            callback_api_version=CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=None if version == MQTTProtocolVersion.MQTTv5 else True,
            protocol=version,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)  # the broker's Receive Maximum comes too late for paho: see ``window``
        client.enable_logger(self._last_error.logger)
        if options.username is not None:
            client.username_pw_set(options.username, options.password)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = lambda *_: self._forget_descriptor()
        client.on_socket_register_write = lambda *_: self._loop.add_writer(self._sock.fileno(), self._writable)
        client.on_socket_unregister_write = self._on_write_done
        return client

    def _on_write_done(self, *_: Any) -> None:
        self._loop.remove_writer(self._sock.fileno())

    def _forget_descriptor(self) -> None:
        descriptor = self._sock.fileno()
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)

    def _readable(self) -> None:
        self._guard(self._client.loop_read)
        # What TLS has decrypted already does not make the socket readable again.
        while isinstance(self._sock, ssl.SSLSocket) and not self._ended.is_set() and self._sock.pending():
            self._guard(self._client.loop_read)
        self._heard_s = self._loop.time()

    def _writable(self) -> None:
        self._guard(self._client.loop_write)

    def _guard(self, operation: Callable[[], object]) -> None:
        try:
            operation()
        except Exception as exc:  # noqa: BLE001 - paho on hostile bytes, or a callback: the session is over
            self._end(exc)

    def _end(self, failure: Exception) -> None:
        if not self._ended.is_set():
            self._failure = failure
            self._ended.set()
            self._answered.set()
            for _ in range(self.window):
                self._slots.release()  # whoever waits for one sees that it is over

    def _check_liveness(self) -> None:
        now_s = self._loop.time()
        limit_s = SILENCE_LIMIT * self._client.keepalive
        if limit_s and now_s - self._heard_s > limit_s:
            self._end(BrokerUnavailableError(f"nothing came from the broker for {limit_s:g} s"))
        limit_s = self._options.acknowledge_timeout_s
        if self._awaited and now_s - max(self._acknowledged_s, next(iter(self._awaited.values()))) > limit_s:
            self._end(BrokerUnavailableError(f"the broker acknowledged nothing for {limit_s:g} s"))

    def _on_connect(
        self, _client: Client, _userdata: Any, _flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            hint = _HINTS.get(reason.value, "see the broker's log")
            self._end(
                BrokerUnavailableError(f"the broker refused the session: {_text(reason, properties)}: {hint}")
            )
            return
        self.window = min(self.window, getattr(properties, "ReceiveMaximum", self.window))
        self._slots = asyncio.Semaphore(self.window)
        self._packet_limit_bytes = getattr(properties, "MaximumPacketSize", LARGEST_PACKET_BYTES)
        self._may_retain = bool(getattr(properties, "RetainAvailable", 1))
        if getattr(properties, "MaximumQoS", 1) < 1:
            self._end(
                BrokerUnavailableError("the broker does not take QoS 1, and without it nothing is confirmed")
            )
        self._answered.set()

    def _on_publish(self, _client: Client, _userdata: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        sent_s = self._awaited.pop(mid, None)
        if sent_s is None:
            return
        self._slots.release()
        self._proved = True
        self._acknowledged_s = self._loop.time()
        refusal = _text(reason, properties) if reason.value >= _FIRST_REFUSAL else ""
        self.on_acknowledged(Acknowledgement(mid, refusal, self._acknowledged_s - sent_s, reason.value))

    def _on_disconnect(
        self, _client: Client, _userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            text = f"the broker ended the session: {_text(reason, properties)}"
        elif self._answered.is_set():
            text = f"connection lost: {self._last_error.text or reason}"
        else:
            text = (
                f"the connection ended before CONNACK: {self._last_error.text or reason}; "
                "the broker may want another version, TLS, or a client certificate"
            )
        self._end(BrokerUnavailableError(text))


class _Client(Client):
    """paho's client on a socket that is connected already, so that connecting can be cancelled.

    ``_create_socket`` is not public: without it nothing connects, which every test against a broker shows.
    """

    def __init__(self, sock: socket.socket, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._given = sock

    def _create_socket(self) -> socket.socket:
        return self._given


class _LastError(logging.Handler):
    """Keeps the last error that paho logged: the only place where it says why a connection was lost."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""
        self.logger = logging.Logger("paho", logging.ERROR)  # noqa: LOG001 - one for each session, not in the tree
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def _text(reason: ReasonCode, properties: Any) -> str:
    """Return the reason's name and code, and what the broker says of it (Reason String, MQTT 5 §3.4.2.2.2)."""
    said = getattr(properties, "ReasonString", "")
    return f"{reason} (0x{reason.value:02X})" + (f": {said}" if said else "")
