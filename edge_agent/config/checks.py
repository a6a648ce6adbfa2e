"""What no single model can see: ids that repeat, settings that contradict each other, templates, codes."""

from collections.abc import Mapping
from pathlib import Path

from edge_agent.config.exposure import exposure
from edge_agent.config.identities import check_codes
from edge_agent.config.node import Document
from edge_agent.config.parts import Parts
from edge_agent.config.referenced import paths_at
from edge_agent.config.schema import MqttModel, OpsModel, parse_listen, parse_server
from edge_agent.config.shape import Location
from edge_agent.driver import DeviceModel, DriverSpec, Shared
from edge_agent.errors import IdentifierError
from edge_agent.identify.template import fill
from edge_agent.loopback import is_loopback

MIN_TOKEN = 16


def check(document: Document, parts: Parts) -> None:
    """Report every contradiction between parts that are valid in themselves."""
    check_names(document)
    _repeated(document, ("publishers",), "id")
    for position, publisher in parts.publishers.items():
        _check_tls(document, position, publisher, parts.directory)
        _check_session(document, position, publisher)
    _check_client_ids(document, parts)
    check_shared(document, parts.devices)
    for position, (_, device) in parts.devices.items():
        for place, path in paths_at(device, ("devices", position)):
            if str(place[-1]) == "key" or str(place[-1]).endswith("_key"):
                _check_private(document, place, path)
    check_codes(document, parts)
    if parts.ops is not None:
        _check_ops(document, parts.ops, parts.directory)


def check_names(document: Document) -> None:
    """Report devices, and points of a device, that have the name of an earlier one."""
    _repeated(document, ("devices",), "id")
    for position, _ in document.items("devices"):
        _repeated(document, ("devices", position, "points"), "name")


def _repeated(document: Document, location: Location, key: str) -> None:
    """Report entries of a list that have the ``key`` of an earlier one, valid or not."""
    place = document.locate(location)
    first: dict[str, int] = {}
    for position, item in enumerate(place.node.items if not place.extra else ()):
        found = item.child(key)
        if found is None or not isinstance(found[1].value, str):
            continue
        name = found[1].value
        if name in first:
            document.report((*location, position, key), f"{name!r} is already used in line {first[name]}")
        first.setdefault(name, found[1].line)


def _check_tls(document: Document, position: int, publisher: MqttModel, directory: Path) -> None:
    at: Location = ("publishers", position)
    tls = publisher.tls
    is_used = any(parse_server(server).use_tls for server in publisher.servers)
    if tls.model_fields_set and not is_used:
        document.report((*at, "tls"), "no server is mqtts://, so nothing here has an effect", at_key=True)
    if tls.key is not None and tls.certificate is None:
        document.report((*at, "tls", "key"), "a key needs its certificate:", at_key=True)
    if tls.key is not None:
        _check_private(document, (*at, "tls", "key"), directory / tls.key)


def _check_ops(document: Document, ops: OpsModel, directory: Path) -> None:
    host, port = parse_listen(ops.http)
    is_open = port is not None and not is_loopback(host)
    missing = [key for key, value in (("token", ops.token), ("tls", ops.tls)) if value is None]
    if is_open and missing and not ops.insecure_http:
        message = (
            f"{host} can be reached from other machines: set {' and '.join(f'{key}:' for key in missing)}, or "
            "`insecure_http: true` if you accept that anybody there may read along"
        )
        document.report(("ops", "http"), message)
    if ops.insecure_http and not (is_open and missing):
        message = "nothing here is insecure, so this has no effect"
        document.report(("ops", "insecure_http"), message, at_key=True)
    token = "" if ops.token is None else ops.token.get_secret_value()
    if ops.token is not None and (
        len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token
    ):
        message = (
            f"needs at least {MIN_TOKEN} characters of ASCII without spaces; `openssl rand -hex 32` makes one"
        )
        document.report(("ops", "token"), message)
    if ops.tls is not None:
        _check_private(document, ("ops", "tls", "key"), directory / ops.tls.key)


def _check_private(document: Document, at: Location, path: Path) -> None:
    if why := exposure(path):
        document.report(at, why)


def _check_session(document: Document, position: int, publisher: MqttModel) -> None:
    at: Location = ("publishers", position)
    if publisher.password is not None and publisher.username is None:
        document.report((*at, "password"), "a password needs its username:", at_key=True)
    if publisher.keep_alive % 1:
        document.report((*at, "keep_alive"), "MQTT counts the keep alive in whole seconds")
    for key, template in publisher.topics.model_dump().items():
        known = {"gateway": "g", "device": "d"} if key in {"data", "gap"} else {"gateway": "g"}
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


def check_shared(document: Document, devices: Mapping[int, tuple[DriverSpec, DeviceModel]]) -> None:
    """Report devices that set up what they share in another way than the first one that uses it."""
    first: dict[tuple[str, str], tuple[int, Shared]] = {}
    for position, (spec, model) in devices.items():
        if spec.shares is None or not model.enabled:
            continue
        for shared in spec.shares(model):
            other, known = first.setdefault((spec.protocol, shared.name), (position, shared))
            for key, value in shared.settings.items():
                theirs = known.settings.get(key, value)
                if theirs == value:
                    continue
                place = document.locate(("devices", other, *key.split("."))).node
                message = (
                    f"{value} here, but {theirs} for {devices[other][1].id} "
                    f"({document.file}:{place.line}:{place.column}); "
                    f"devices that share {shared.name} need the same {key}:"
                )
                document.report(("devices", position, *key.split(".")), message)
