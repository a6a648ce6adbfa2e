"""What no single model can see: ids that repeat, settings that contradict each other, templates, codes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.config.node import Document
from edge_agent.config.schema import (
    GatewayModel,
    IdentifiersModel,
    MqttModel,
    OpsModel,
    OutboxModel,
    parse_server,
)
from edge_agent.config.shape import Location
from edge_agent.driver import DeviceModel, DriverSpec
from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Fault, mint, parse_prefix
from edge_agent.identify.template import fill


@dataclass(slots=True)
class Parts:
    """The sections that are valid in themselves; numbers are positions in the document's lists."""

    directory: Path
    gateway: GatewayModel | None = None
    identifiers: IdentifiersModel | None = None
    outbox: OutboxModel | None = None
    ops: OpsModel | None = None
    publishers: dict[int, MqttModel] = field(default_factory=dict)
    devices: dict[int, tuple[DriverSpec, DeviceModel]] = field(default_factory=dict)


def check(document: Document, parts: Parts) -> None:
    """Report every contradiction between parts that are valid in themselves."""
    _repeated(document, ("devices",), "id")
    for position, _ in document.items("devices"):
        _repeated(document, ("devices", position, "points"), "name")
    _repeated(document, ("publishers",), "id")
    for position, publisher in parts.publishers.items():
        _check_tls(document, position, publisher, parts.directory)
        _check_session(document, position, publisher)
    _check_client_ids(document, parts)
    if parts.identifiers is not None:
        _check_codes(document, parts, parts.identifiers)


def _repeated(document: Document, location: Location, key: str) -> None:
    """Report entries of a list that have the ``key`` of an earlier one, valid or not."""
    place = document.locate(location)
    first: dict[str, int] = {}
    for position, item in enumerate(place.node.items if not place.extra else ()):
        found = item.child(key)
        if found is None or not isinstance(found[2].value, str):
            continue
        name = found[2].value
        if name in first:
            document.report((*location, position, key), f"{name!r} is already used in line {first[name]}")
        first.setdefault(name, found[2].line)


def _check_tls(document: Document, position: int, publisher: MqttModel, directory: Path) -> None:
    at: Location = ("publishers", position)
    tls = publisher.tls
    is_used = any(parse_server(server).use_tls for server in publisher.servers)
    if tls.model_fields_set and not is_used:
        document.report((*at, "tls"), "no server is mqtts://, so nothing here has an effect", at_key=True)
    if tls.key is not None and tls.certificate is None:
        document.report((*at, "tls", "key"), "a key needs its certificate:", at_key=True)
    for key, written in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
        if written is not None and not (directory / written).is_file():
            document.report((*at, "tls", key), f"{directory / written} is not a file")


def _check_session(document: Document, position: int, publisher: MqttModel) -> None:
    at: Location = ("publishers", position)
    if publisher.password is not None and publisher.username is None:
        document.report((*at, "password"), "a password needs its username:", at_key=True)
    if publisher.keep_alive % 1:
        document.report((*at, "keep_alive"), "MQTT counts the keep alive in whole seconds")
    for key, template in publisher.topics.model_dump().items():
        known = {"gateway": "g", "device": "d"} if key == "data" else {"gateway": "g"}
        try:
            fill(template, known)
        except IdentifierError as exc:
            document.report((*at, "topics", key), exc.hint)


def _check_client_ids(document: Document, parts: Parts) -> None:
    owners: dict[tuple[str, int, str], str] = {}
    for position, publisher in parts.publishers.items():
        client_id = publisher.client_id or (parts.gateway.id if parts.gateway else "")
        servers = [parse_server(server) for server in publisher.servers]
        brokers = dict.fromkeys((server.host, server.port, client_id) for server in servers)
        taken = next((broker for broker in brokers if broker in owners), None)
        if client_id and taken:
            message = (
                f"the client id {client_id!r} is also that of {owners[taken]!r} at {taken[0]}:{taken[1]}; "
                "a broker would end one session for the other: set client_id:"
            )
            key = "client_id" if publisher.client_id else "id"
            document.report(("publishers", position, key), message)
        for broker in brokers:
            owners.setdefault(broker, publisher.id)


@dataclass(frozen=True, slots=True)
class _Coded:
    """One object that gets a code.

    Attributes:
        at: its own place.
        suffix: as written; empty = by the template.
        template: key of the template in ``identifiers:``.
        values: what the template can name.
    """

    at: Location
    suffix: str
    template: str
    values: Mapping[str, str]


def _check_codes(document: Document, parts: Parts, identifiers: IdentifiersModel) -> None:
    try:
        parse_prefix(identifiers.prefix, allow_placeholder=identifiers.allow_placeholder)
    except IdentifierError as exc:
        document.report(("identifiers", "prefix"), exc.hint)
    templates = identifiers.model_dump(include={"gateway", "device", "point"})
    refused: set[str] = set()
    owners: dict[str, str] = {}
    for coded in _coded(parts):
        if coded.template in refused and not coded.suffix:
            continue
        at = (*coded.at, "identifier") if coded.suffix else coded.at
        try:
            code = str(mint(identifiers.prefix, coded.suffix or fill(templates[coded.template], coded.values)))
        except IdentifierError as exc:
            hint = exc.hint
            if exc.code in {Fault.UNKNOWN_PLACEHOLDER, Fault.BAD_TEMPLATE} and not _is_label(exc, parts):
                refused.add(coded.template)
                at = ("identifiers", coded.template)
            elif not coded.suffix:
                hint = f"no code by the template {templates[coded.template]!r}: {hint}"
            document.report(at, hint)
            continue
        name = ".".join(coded.values[key] for key in ("device", "point") if key in coded.values) or "the gateway"
        if code.casefold() in owners:
            document.report(at, f"the code {code} is already that of {owners[code.casefold()]}")
        owners.setdefault(code.casefold(), name)


def _is_label(error: IdentifierError, parts: Parts) -> bool:
    """Return whether another object has the label that this one lacks: then the template is right."""
    labels: Iterable[str] = [label for _, device in parts.devices.values() for label in device.labels]
    if parts.gateway:
        labels = [*labels, *parts.gateway.labels]
    return any(error.hint.startswith(f"{{{label}}} ") for label in labels)


def _coded(parts: Parts) -> Iterator[_Coded]:
    gateway = {"gateway": parts.gateway.id} if parts.gateway else {"gateway": "gateway"}
    if parts.gateway:
        yield _Coded(("gateway",), parts.gateway.identifier, "gateway", {**parts.gateway.labels, **gateway})
    for position, (_, device) in parts.devices.items():
        at: Location = ("devices", position)
        values = {**device.labels, **gateway, "device": device.id}
        yield _Coded(at, device.identifier, "device", values)
        for index, point in enumerate(device.points):
            if point.identifier:
                suffix = point.identifier if isinstance(point.identifier, str) else ""
                yield _Coded((*at, "points", index), suffix, "point", {**values, "point": point.name})
