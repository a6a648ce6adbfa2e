"""How a publisher stands: what its metrics, its log and the status page say. Outlives sessions."""

import logging
from math import inf

from edge_agent.clock import Clock
from edge_agent.edge_log import EdgeLog
from edge_agent.metrics import Metrics
from edge_agent.outbox.rows import Stream
from edge_agent.publish.json_encoder import iso_time
from edge_agent.publish.options import MqttOptions, ServerOptions
from edge_agent.publish.outgoing import Outgoing
from edge_agent.publish.replay import Progress

_log = logging.getLogger(__name__)


class Standing:
    """Told what happens; counts it, logs it on the edge, sums it up."""

    def __init__(self, options: MqttOptions, metrics: Metrics, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._since_ns = clock.now_ns()
        self._server: ServerOptions | None = None
        self._last_error = ""
        self._counts = dict.fromkeys(("sessions", "published", "acknowledged", "refused", "dead_letters"), 0)
        self._session_log = EdgeLog(_log, clock.monotonic_s, publisher=options.id)
        self._refusal_log = EdgeLog(_log, clock.monotonic_s, publisher=options.id)
        label = options.id
        self._up = metrics.publisher_up.labels(label)
        self._published_rows = metrics.published_rows.labels(label)
        self._published = metrics.published.labels(label)
        self._published_bytes = metrics.published_bytes.labels(label)
        self._acknowledged = metrics.acknowledged.labels(label)
        self._refused = metrics.refused.labels(label)
        self._dead_letters = metrics.dead_letters.labels(label)
        self._sessions = metrics.sessions.labels(label)
        self._losses = metrics.session_losses.labels(label)
        self._acknowledge_seconds = metrics.acknowledge_seconds.labels(label)
        self._delivery_seconds = metrics.delivery_seconds.labels(label)
        self._replay = Progress(clock.monotonic_s())
        self._replay_pending = 0
        self._replay_gauges = (
            metrics.replay_pending.labels(label),
            metrics.replay_rate.labels(label),
            metrics.replay_eta_seconds.labels(label),
        )
        is_insecure = not options.tls.verify and any(server.use_tls for server in options.servers)
        metrics.insecure.labels(label).set(int(is_insecure))
        if is_insecure:
            _log.warning("the broker's certificate is not verified", extra={"publisher": label})

    def connected(self, server: ServerOptions) -> None:
        """A session is established."""
        self._server = server
        self._since_ns = self._clock.now_ns()
        self._counts["sessions"] += 1
        self._sessions.inc()
        self._up.set(1)
        if self._counts["sessions"] == 1:
            fields = {"publisher": self._options.id, "server": f"{server.host}:{server.port}"}
            _log.info("first session with the broker", extra=fields)

    def proved(self) -> None:
        """The broker acknowledged something."""
        where = f"{self._server.host}:{self._server.port}" if self._server else ""
        self._session_log.recovered("broker connected", server=where)

    def lost(self, reason: str, *, bug: BaseException | None = None) -> None:
        """A session was lost, or could not be established."""
        self.disconnected()
        self._last_error = reason
        self._losses.inc()
        self._session_log.failed("no session with the broker", reason=reason, exc_info=bug)

    def disconnected(self) -> None:
        """There is no session."""
        if self._server is not None:
            self._since_ns = self._clock.now_ns()
        self._server = None
        self._up.set(0)

    def sent(self, outgoing: Outgoing) -> None:
        """A message was handed to the broker."""
        self._counts["published"] += outgoing.readings
        self._published.inc(outgoing.readings)
        self._published_rows.inc(len(outgoing.row_ids))
        self._published_bytes.inc(len(outgoing.message.payload))

    def accepted(self, outgoing: Outgoing, waited_s: float) -> None:
        """The broker took a message."""
        self._counts["acknowledged"] += outgoing.readings
        self._acknowledged.inc(outgoing.readings)
        self._acknowledge_seconds.observe(waited_s)
        if outgoing.stream is Stream.REPLAY:
            self._replay.add(outgoing.readings)
        else:
            now_ns = self._clock.now_ns()
            for time_ns in outgoing.times_ns:
                self._delivery_seconds.observe((now_ns - time_ns) / 1e9)

    def replaying(self, pending: int) -> None:
        """The backlog has ``pending`` readings; told every second during a session, and when it begins."""
        self._replay.tick(self._clock.monotonic_s())
        self._replay_pending = pending
        eta_s = self._replay.eta_s(pending)
        shown = (pending, self._replay.rate, inf if eta_s is None else eta_s)
        for gauge, value in zip(self._replay_gauges, shown, strict=True):
            gauge.set(value)

    def refused(self, topic: str, reason: str) -> None:
        """The broker refused a message, or takes none that large."""
        self._counts["refused"] += 1
        self._refused.inc()
        self._refusal_log.failed("the broker refuses a message; it is kept", topic=topic, reason=reason)

    def set_aside(self, outgoing: Outgoing, reason: str) -> None:
        """Rows became dead letters."""
        self._counts["dead_letters"] += len(outgoing.row_ids)
        self._dead_letters.inc(len(outgoing.row_ids))
        _log.warning(
            "the broker refuses a row for what it is; see `edge-agent outbox dead-letter`",
            extra={"publisher": self._options.id, "row": outgoing.row_ids[0], "reason": reason},
        )

    def refusals_over(self) -> None:
        """No refused message is left."""
        self._refusal_log.recovered("the broker takes the messages that it refused")

    def summary(self, in_flight: int) -> dict[str, object]:
        """Return what the status page shows."""
        server = self._server
        eta_s = self._replay.eta_s(self._replay_pending)
        return {
            "id": self._options.id,
            "type": "mqtt",
            "connected": server is not None,
            "server": f"{server.host}:{server.port}" if server is not None else None,
            "since": iso_time(self._since_ns // 1000),
            "in_flight": in_flight,
            "last_error": self._last_error,
            "replay": {
                "pending_readings": self._replay_pending,
                "readings_per_s": round(self._replay.rate, 1),
                "eta_s": None if eta_s is None else round(eta_s, 1),
            },
            **self._counts,
        }
