"""What the configuration says about publishers."""

from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.model import GatewayId, PublisherId


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS of one publisher; host names and chains are verified unless ``verify`` is false.

    Attributes:
        ca: PEM file of the authorities to trust; None = the system's.
        certificate: PEM file of the own certificate (mutual TLS).
        key: PEM file of the own private key.
        verify: false needs ``insecure: true`` in YAML, a log line and a metric.
        files: hash of what is in these files: another content is another configuration.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True
    files: str = ""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """One broker address out of a list."""

    host: str
    port: int
    use_tls: bool


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """Topic templates; ``{gateway}`` and ``{device}`` are filled in."""

    data: str = "edge/v1/{gateway}/{device}/data"
    gap: str = "edge/v1/{gateway}/{device}/gap"
    status: str = "edge/v1/{gateway}/status"
    directory: str = "edge/v1/{gateway}/directory"
    health: str = "edge/v1/{gateway}/health"


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How the backlog goes out.

    Attributes:
        in_order: the backlog first and then what is live, each device in order of acquisition throughout;
            otherwise live first, and the backlog beside it.
        rate: readings per second at most; None = no limit.
        share: part of the window that the backlog may use beside what is live.
    """

    in_order: bool = False
    rate: float | None = None
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """One MQTT publisher.

    Attributes:
        servers: tried in order, each attempt the next one; the first that accepts is used.
        protocol_version: 4 = MQTT 3.1.1, 5 = MQTT 5.
        max_in_flight: unacknowledged messages; a smaller Receive Maximum of the broker is honoured.
        message_bytes: rows of one device are joined into one message up to about this size.
        starts_now: when it comes new, it gets nothing of what was kept before.
        acknowledge_timeout_s: no PUBACK for this long while one is awaited ends the session.
    """

    id: PublisherId
    gateway: GatewayId
    servers: tuple[ServerOptions, ...]
    client_id: str
    protocol_version: int = 5
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsOptions = field(default_factory=TlsOptions)
    keep_alive_s: float = 30.0
    connect_timeout_s: float = 10.0
    acknowledge_timeout_s: float = 20.0
    max_in_flight: int = 20
    message_bytes: int = 64 * 1024
    retry_max_s: float = 60.0
    health_interval_s: float = 60.0
    topics: TopicOptions = field(default_factory=TopicOptions)
    replay: ReplayOptions = field(default_factory=ReplayOptions)
    starts_now: bool = False
