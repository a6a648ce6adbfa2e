"""From a document to frozen options: validates every section and device, then builds what the agent runs."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edge_agent.collect.findings import Findings
from edge_agent.collect.options import DeviceOptions
from edge_agent.collect.packed import Packed
from edge_agent.config.checks import check
from edge_agent.config.identities import identifier_options
from edge_agent.config.node import Document
from edge_agent.config.options import AgentOptions, LocalOptions
from edge_agent.config.parts import Parts, take_apart
from edge_agent.config.present import check_device_files, check_files
from edge_agent.config.referenced import content_digest, files_at, paths_in
from edge_agent.config.schema import (
    GatewayModel,
    MqttModel,
    OpsModel,
    OutboxModel,
    parse_listen,
    parse_server,
)
from edge_agent.config.source import Source
from edge_agent.driver import DeadbandModel, DeviceModel, DriverSpec, PointModel
from edge_agent.errors import ConfigError
from edge_agent.loopback import is_loopback
from edge_agent.model import Deadband, DeviceId, GatewayId, Point, PointName, PointTable, PublisherId
from edge_agent.ops.options import OpsOptions
from edge_agent.outbox.options import OutboxOptions, WhenFull
from edge_agent.publish.options import MqttOptions, ReplayOptions, TlsOptions, TopicOptions
from edge_agent.registry import Registry


def build(
    source: Source, document: Document, registry: Registry, *, needs_device_files: bool = True
) -> AgentOptions:
    """Return the options that ``document`` asks for; the files that devices name may be missing if not needed.

    Raises:
        ConfigError: with every problem of the document, in order of place.
    """
    checks = (check, check_files, check_device_files) if needs_device_files else (check, check_files)
    parts, gateway, outbox, ops = _checked(source, document, registry, checks)
    directory = parts.directory
    return AgentOptions(
        source=source.path,
        digest=hashlib.sha256(source.raw).hexdigest(),
        gateway=GatewayId(gateway.id),
        gateway_name=gateway.name,
        devices=tuple(
            _device(spec, model, parts.found[position].text if position in parts.found else "")
            for position, (spec, model) in parts.devices.items()
            if model.enabled
        ),
        outbox=_outbox(outbox, directory),
        publishers=tuple(_publisher(model, gateway, directory) for model in parts.publishers.values()),
        identifiers=identifier_options(parts),
        ops=_ops(ops, directory),
        insecure=tuple(_insecure(parts, ops)),
        raw=source.raw,
        watched=tuple(sorted({*document.secret_files, *_files(parts)})),
    )


def build_local(source: Source, document: Document, registry: Registry) -> LocalOptions:
    """As ``build``, for a document whose secrets were left out; what else it names may be missing, too."""
    parts, _, outbox, ops = _checked(source, document, registry, (check,))
    return LocalOptions(
        outbox=_outbox(outbox, parts.directory),
        identifiers=identifier_options(parts),
        ops=_ops(ops, parts.directory),
    )


def _checked(
    source: Source, document: Document, registry: Registry, checks: Iterable[Callable[[Document, Parts], None]]
) -> tuple[Parts, GatewayModel, OutboxModel, OpsModel]:
    parts = take_apart(document, source.path.absolute().parent, registry)
    if parts.outbox is not None:
        parts.take_found(Findings(_outbox(parts.outbox, parts.directory).directory))
    for one in checks:
        one(document, parts)
    gateway, outbox, ops = parts.gateway, parts.outbox, parts.ops
    if document.problems or gateway is None or outbox is None or ops is None:
        raise ConfigError(sorted(set(document.problems)))
    return parts, gateway, outbox, ops


def _device(spec: DriverSpec, model: DeviceModel, found: str) -> DeviceOptions:
    device = DeviceId(model.id)
    return DeviceOptions(
        id=device,
        spec=spec,
        config=Packed(model),
        table=PointTable(device, tuple(map(_point, model.points))),
        intervals_s=tuple(model.interval if p.interval is None else p.interval for p in model.points),
        connect_timeout_s=model.connect_timeout,
        read_timeout_s=model.timeout,
        close_timeout_s=model.close_timeout,
        max_failures=model.max_failures,
        retry_max_s=model.retry_max,
        name=model.name,
        shared=() if spec.shares is None else tuple(spec.shares(model)),
        files=content_digest(paths_in(model)),
        found=found,
    )


def _files(parts: Parts) -> Iterator[Path]:
    """Yield the files whose content the agent uses; what is no plain file, such as a serial port, is none."""
    for path in parts.paths():
        yield from files_at(path)


def _point(model: PointModel) -> Point:
    return Point(
        PointName(model.name),
        unit=model.unit,
        reading_class=model.reading_class,
        description=model.description,
        deadband=None if model.deadband is None else _deadband(model.deadband),
        range=None if model.range is None else (model.range.low, model.range.high),
    )


def _deadband(model: DeadbandModel) -> Deadband:
    if model.max_silence is None:
        return Deadband(model.absolute, model.percent)
    return Deadband(model.absolute, model.percent, model.max_silence)


def _outbox(model: OutboxModel, directory: Path) -> OutboxOptions:
    return OutboxOptions(
        directory / (model.directory or default_state_directory()),
        model.commit_interval,
        model.commit_size,
        max_bytes=model.max_size,
        max_age_s=model.max_age,
        when_full=WhenFull(model.when_full),
        reserve_bytes=model.reserve,
        memory_bytes=model.memory,
        write_budget_bytes=model.write_budget,
        dead_letter_bytes=model.dead_letter_size,
    )


def default_state_directory() -> str:
    """Return where the outbox is if the configuration does not say so."""
    # systemd may name several folders, separated by colons; the first one is ours
    return os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or "/var/lib/edge-agent"


def _ops(model: OpsModel, directory: Path) -> OpsOptions:
    host, port = parse_listen(model.http)
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or "/run/edge-agent"
    socket = model.control_socket or f"{runtime}/control.sock"
    tls = () if model.tls is None else (directory / model.tls.certificate, directory / model.tls.key)
    certificate, key = tls or (None, None)
    return OpsOptions(
        host,
        port,
        directory / socket,
        model.log_format,
        model.log_level,
        token=None if model.token is None else model.token.get_secret_value(),
        certificate=certificate,
        key=key,
        files=content_digest(tls),
    )


def _publisher(model: MqttModel, gateway: GatewayModel, directory: Path) -> MqttOptions:
    tls = model.tls
    ca, certificate, key = (
        None if written is None else directory / written for written in (tls.ca, tls.certificate, tls.key)
    )
    files = [path for path in (ca, certificate, key) if path is not None]
    return MqttOptions(
        id=PublisherId(model.id),
        gateway=GatewayId(gateway.id),
        servers=tuple(map(parse_server, model.servers)),
        client_id=model.client_id or gateway.id,
        protocol_version={"5": 5, "3.1.1": 4}[model.version],
        username=model.username,
        password=None if model.password is None else model.password.get_secret_value(),
        tls=TlsOptions(ca, certificate, key, verify=not tls.insecure, files=content_digest(files)),
        keep_alive_s=model.keep_alive,
        connect_timeout_s=model.connect_timeout,
        acknowledge_timeout_s=model.acknowledge_timeout,
        max_in_flight=model.max_in_flight,
        message_bytes=model.message_size,
        retry_max_s=model.retry_max,
        health_interval_s=model.health_interval,
        topics=TopicOptions(**model.topics.model_dump()),
        starts_now=model.start == "now",
        replay=ReplayOptions(
            in_order=model.replay.order == "in_order", rate=model.replay.rate, share=model.replay.share
        ),
    )


def _insecure(parts: Parts, ops: OpsModel) -> list[str]:
    """Return the paths, by id, of the settings that weaken security."""
    found = []
    for model in parts.publishers.values():
        if model.tls.insecure:
            found.append(f"publishers.{model.id}.tls.insecure")
        servers = [parse_server(server) for server in model.servers]
        if model.password and any(not server.use_tls and not is_loopback(server.host) for server in servers):
            found.append(f"publishers.{model.id}.password")  # goes over the network as it is
    found.extend(
        f"devices.{model.id}.{key}"
        for _, model in parts.devices.values()
        for key, value in model
        if key.startswith("insecure") and value is True
    )
    if ops.insecure_http:
        found.append("ops.insecure_http")
    return found
