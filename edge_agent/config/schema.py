"""The document that integrators write, as models. What a device adds to it, its driver says."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

from edge_agent.driver import DeviceModel, Duration, Id, Secret, Size, StrictModel
from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import parse_prefix
from edge_agent.publish.options import ServerOptions

_MAX_MQTT_TEXT_BYTES = 65535
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_DIGITS = "0123456789"


def parse_server(text: str) -> ServerOptions:
    """Return the broker address in ``mqtt://host:port`` or ``mqtts://host:port``.

    Raises:
        ValueError: another scheme, no host, a bad port, or anything after the port.
    """
    example = "write mqtts://broker.example.com:8883 or mqtt://10.0.0.5:1883"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"not a broker address; {example}") from None
    if parts.scheme not in _PORTS:
        raise ValueError(f"not a broker address; {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("user name and password have keys of their own: username: and password:")
    if not host or not host.isprintable() or " " in host:
        raise ValueError(f"no host; {example}")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(f"nothing may follow the port; {example}")
    if port == 0:
        raise ValueError("port 0 is not a port of a broker")
    return ServerOptions(host, port or _PORTS[parts.scheme], use_tls=parts.scheme == "mqtts")


def parse_listen(text: str) -> tuple[str, int | None]:
    """Return host and port of ``127.0.0.1:9464`` or ``[::1]:9464``; no port for ``off``.

    Raises:
        ValueError: neither.
    """
    if text == "off":
        return "", None
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    is_port = 0 < len(port) <= len("65535") and not port.strip(_DIGITS) and int(port) <= 65535  # noqa: PLR2004
    if not separator or not is_port or not host.isascii() or not host or (":" in host) != bracketed:
        raise ValueError("write host:port, such as 127.0.0.1:9464 or [::1]:9464, or off")
    if not host.isprintable() or set(host) & set(" /@[]"):
        raise ValueError(f"{host!r} cannot be a host")
    return host, int(port)


def _check_server(text: str) -> str:
    parse_server(text)
    return text


def _check_listen(text: str) -> str:
    parse_listen(text)
    return text


def _check_prefix(text: str) -> str:
    try:
        return parse_prefix(text)
    except IdentifierError as exc:
        raise ValueError(str(exc)) from exc


def _check_mqtt_text(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("a zero byte cannot stand in MQTT text")
    if len(text.encode()) > _MAX_MQTT_TEXT_BYTES:
        raise ValueError(f"longer than {_MAX_MQTT_TEXT_BYTES} bytes")
    return text


def _check_topic(text: str) -> str:
    _check_mqtt_text(text)
    for char in "+#":
        if char in text:
            raise ValueError(f"{char!r} is a wildcard; it cannot stand in a topic that is published to")
    if text.startswith("$"):
        raise ValueError("topics that begin with $ belong to the broker")
    return text


def _check_path(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("a zero byte cannot stand in a path")
    return text


Server = Annotated[str, AfterValidator(_check_server)]
Listen = Annotated[str, AfterValidator(_check_listen)]
Prefix = Annotated[str, AfterValidator(_check_prefix)]
MqttText = Annotated[str, AfterValidator(_check_mqtt_text)]
Topic = Annotated[str, AfterValidator(_check_topic)]
WrittenPath = Annotated[str, AfterValidator(_check_path), WithJsonSchema({"type": "string", "format": "path"})]
"""A path as written: relative to the folder of the YAML file."""


class GatewayModel(StrictModel):
    """This box."""

    id: Id = Field(description="Name of the gateway, unique in the plant; a level of every topic.")
    name: str = Field(default="", description="Display name, any language.")
    identifier: str = Field(
        default="", description="Suffix of the gateway's identifier code; default: the template."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Free texts (serial, site) for templates and the directory."
    )


class IdentifiersModel(StrictModel):
    """Identifier-resolution codes; without this section there are none, and a warning says so."""

    prefix: Prefix = Field(description="Prefix that a second-level node allocated to you, such as 88.101.0042.")
    gateway: str = Field(
        default="GW.{gateway}", description="Template of the gateway's suffix: {gateway} and its labels."
    )
    device: str = Field(
        default="EQ.{device}", description="Template of a device's suffix: {gateway}, {device} and its labels."
    )
    point: str = Field(
        default="EQ.{device}.{point}",
        description="Template of the suffix of a point that has identifier: true; {point} is its name.",
    )
    allow_placeholder: bool = Field(
        default=False, description="Accept a placeholder prefix (88.000.…); for demonstrations only."
    )


class OutboxModel(StrictModel):
    """The durable log of readings that are not yet delivered."""

    directory: WrittenPath | None = Field(
        default=None, description="State directory; default: $STATE_DIRECTORY, or /var/lib/edge-agent."
    )
    commit_interval: Duration = Field(
        default=1.0,
        ge=0.01,
        le=60,
        description="Longest time that a reading waits in memory: what a power cut costs.",
    )
    commit_size: Size = Field(
        default=256 * 1024, ge=1024, le=16 * 1024**2, description="Commit earlier when this much is waiting."
    )
    max_size: Size = Field(
        default=4 * 1024**3,
        ge=16 * 1024**2,
        description="What the log may take on disk, SQLite's own log included.",
    )
    max_age: Duration | None = Field(
        default=None,
        ge=60,
        description="Readings that were kept for so long are dropped; time that the agent is off does not count."
        " Default: none are.",
    )
    when_full: Literal["drop_oldest", "drop_newest", "block"] = Field(
        default="drop_oldest",
        description="At max_size. drop_oldest: the lowest class gives way, the oldest first; drop_newest: new"
        " readings of the lowest class are not taken; block: devices wait.",
    )
    reserve: Size = Field(
        default=64 * 1024**2,
        ge=0,
        description="Free space on the disk below which the log does not grow: it makes room within itself.",
    )
    memory: Size = Field(
        default=32 * 1024**2,
        ge=1024**2,
        description="Readings that wait in memory while the disk takes no writes; beyond it the lowest class gives"
        " way, the oldest first.",
    )
    dead_letter_size: Size = Field(
        default=16 * 1024**2,
        ge=64 * 1024,
        description="What rows that a broker refused for what they are may take; beyond it the oldest give way.",
    )
    write_budget: Size | None = Field(
        default=None,
        ge=1024**2,
        description="Warn when more is written to the disk within a day: flash wears by it. Default: no budget.",
    )


class TlsModel(StrictModel):
    """TLS of the mqtts:// servers; chain and host name are always verified unless `insecure` says otherwise."""

    ca: WrittenPath | None = Field(
        default=None, description="PEM file of the authorities to trust; default: the system's."
    )
    certificate: WrittenPath | None = Field(
        default=None, description="PEM file of the own certificate (mutual TLS)."
    )
    key: WrittenPath | None = Field(default=None, description="PEM file of the own private key (mutual TLS).")
    insecure: bool = Field(
        default=False, description="true: trust any broker. Logged, counted, and never for production."
    )


class TopicsModel(StrictModel):
    """Topic templates; {gateway} and, in `data` and `gap`, {device} are filled in."""

    data: Topic = Field(default="edge/v1/{gateway}/{device}/data", description="Readings.")
    gap: Topic = Field(default="edge/v1/{gateway}/{device}/gap", description="What is missing, and why.")
    status: Topic = Field(default="edge/v1/{gateway}/status", description="Online or offline; retained, will.")
    directory: Topic = Field(default="edge/v1/{gateway}/directory", description="Codes; retained.")
    health: Topic = Field(default="edge/v1/{gateway}/health", description="Summary of the gateway's health.")


class ReplayModel(StrictModel):
    """How a publisher sends the backlog: what was committed before its session began."""

    order: Literal["live_first", "in_order"] = Field(
        default="live_first", description="live_first: the backlog beside what is live; in_order: before it."
    )
    rate: float | None = Field(
        default=None, gt=0, description="Readings per second of the backlog at most; default: no limit."
    )
    share: float = Field(
        default=0.5, gt=0, le=1, description="Part of max_in_flight that the backlog may use beside what is live."
    )


class MqttModel(StrictModel):
    """One destination."""

    id: Id = Field(description="Name of the publisher, unique within the gateway.")
    type: Literal["mqtt"] = Field(description="Kind of publisher.")
    servers: list[Server] = Field(
        min_length=1,
        max_length=16,
        description="Addresses, tried in order: mqtts://host (default port 8883) or mqtt://host (1883).",
    )
    version: Literal["5", "3.1.1"] = Field(default="5", description="Version of MQTT, in quotes.")
    client_id: MqttText | None = Field(default=None, description="Default: the gateway's id.")
    username: MqttText | None = Field(default=None, description="User name at the broker.")
    password: Secret | None = Field(default=None, description="Password at the broker.")
    tls: TlsModel = Field(default_factory=TlsModel, description="TLS of the mqtts:// servers.")
    keep_alive: Duration = Field(default=30.0, ge=1, le=65535, description="Keep alive of MQTT.")
    connect_timeout: Duration = Field(default=10.0, gt=0, description="Longest time to establish a session.")
    acknowledge_timeout: Duration = Field(
        default=20.0, gt=0, description="A session without an awaited acknowledgement for this long is ended."
    )
    max_in_flight: int = Field(
        default=20, ge=1, le=65535, description="Unacknowledged messages; less if the broker says so."
    )
    message_size: Size = Field(
        default=64 * 1024,
        ge=1024,
        le=64 * 1024**2,
        description="Rows are joined into messages of about this size.",
    )
    retry_max: Duration = Field(
        default=60.0, gt=0, description="Longest pause between two attempts to connect (full jitter)."
    )
    health_interval: Duration = Field(default=60.0, ge=1, description="Time between two health messages.")
    topics: TopicsModel = Field(default_factory=TopicsModel, description="Topic templates.")
    start: Literal["oldest", "now"] = Field(
        default="oldest",
        description="Where a publisher begins that is new to the outbox: at the oldest reading that is kept, or at"
        " what comes from now on.",
    )
    replay: ReplayModel = Field(default_factory=ReplayModel, description="How the backlog is sent.")


class OpsTlsModel(StrictModel):
    """TLS of the status page and metrics, 1.2 or newer; renewed files are taken up within 10 s."""

    certificate: WrittenPath = Field(description="PEM file of the certificate, with its chain.")
    key: WrittenPath = Field(description="PEM file of its private key.")


class OpsModel(StrictModel):
    """Where the agent can be watched and reached."""

    http: Listen = Field(
        default="127.0.0.1:9464",
        description="host:port of the status page, /status, /metrics and health; port 0: a free one; off: none.",
    )
    token: Secret | None = Field(
        default=None,
        description="Who knows it may look at `http`: Authorization: Bearer, or the form of the status page."
        " At least 16 characters. /livez and /readyz answer without it, less the reasons.",
    )
    tls: OpsTlsModel | None = Field(default=None, description="HTTPS at `http`; default: HTTP.")
    insecure_http: bool = Field(
        default=False,
        description="true: let `http` be reached from other machines without `token` or `tls`. Logged, shown,"
        " and never for production.",
    )
    control_socket: WrittenPath | None = Field(
        default=None,
        description="Unix socket; default: $RUNTIME_DIRECTORY/control.sock, or /run/edge-agent/control.sock.",
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="auto: text on a terminal, JSON otherwise."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged."
    )


class AgentModel(StrictModel):
    """The whole document."""

    gateway: GatewayModel = Field(description="This box.")
    identifiers: IdentifiersModel | None = Field(
        default=None, description="Identifier-resolution codes; without this section there are none."
    )
    outbox: OutboxModel = Field(default_factory=OutboxModel, description="The durable log.")
    publishers: list[MqttModel] = Field(description="Destinations; each gets every reading. [] keeps them here.")
    ops: OpsModel = Field(default_factory=OpsModel, description="Where the agent can be watched and reached.")
    drivers_path: list[WrittenPath] = Field(
        default_factory=list, description="Folders that hold further drivers (`edge_agent_<protocol>`)."
    )
    devices: list[DeviceModel] = Field(description="Machines and meters to talk to.")
