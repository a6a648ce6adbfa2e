"""The sections and devices of a document, each validated by its model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from edge_agent.collect.findings import Findings
from edge_agent.config import wording
from edge_agent.config.node import Document
from edge_agent.config.referenced import paths_in
from edge_agent.config.schema import (
    AgentModel,
    GatewayModel,
    IdentifiersModel,
    MqttModel,
    OpsModel,
    OutboxModel,
)
from edge_agent.config.shape import Location, holds, keys
from edge_agent.config.validate import validate
from edge_agent.driver import DeviceModel, DriverSpec
from edge_agent.errors import DriverLoadError
from edge_agent.model import DeviceId
from edge_agent.registry import Registry

M = TypeVar("M", bound=BaseModel)
_LISTS = frozenset({"publishers", "devices", "drivers_path"})


@dataclass(frozen=True, slots=True)
class Found:
    """What a session found of a device, and how many of its points are written."""

    text: str
    written: int


@dataclass(slots=True)
class Parts:
    """The sections that are valid in themselves; numbers are positions in the document's lists.

    Attributes:
        directory: folder of the YAML file, absolute; relative paths are relative to it.
        devices: as they are collected: what was found of them is in.
        found: of the devices of which something was.
    """

    directory: Path
    gateway: GatewayModel | None = None
    identifiers: IdentifiersModel | None = None
    outbox: OutboxModel | None = None
    ops: OpsModel | None = None
    publishers: dict[int, MqttModel] = field(default_factory=dict)
    devices: dict[int, tuple[DriverSpec, DeviceModel]] = field(default_factory=dict)
    found: dict[int, Found] = field(default_factory=dict)

    def take_found(self, findings: Findings) -> None:
        """Make the devices what they are with what was found of them."""
        for position, (spec, model) in self.devices.items():
            text = "" if spec.found is None else findings.read(DeviceId(model.id))
            if spec.found is not None and text:
                self.found[position] = Found(text, len(model.points))
                self.devices[position] = (spec, spec.found(model, text))

    def paths(self) -> Iterator[Path]:
        """Yield what the agent reads besides the secrets of ``!file``: certificates, keys, folders of such."""
        for model in self.publishers.values():
            yield from (
                self.directory / one for one in (model.tls.ca, model.tls.certificate, model.tls.key) if one
            )
        if self.ops is not None and self.ops.tls is not None:
            yield from (self.directory / one for one in (self.ops.tls.certificate, self.ops.tls.key))
        for _, device in self.devices.values():
            yield from paths_in(device)


def take_apart(document: Document, directory: Path, registry: Registry) -> Parts:
    """Validate every section and device, and report every mistake in them.

    Args:
        document: the parsed file.
        directory: its folder, absolute.
        registry: where drivers are found, besides the document's own ``drivers_path``.
    """
    parts = Parts(directory)
    _check_top(document)
    present = document.root.children
    parts.gateway = validate(document, GatewayModel, ("gateway",)) if "gateway" in present else None
    if "identifiers" in present:
        parts.identifiers = validate(document, IdentifiersModel, ("identifiers",))
    parts.outbox = validate(document, OutboxModel, ("outbox",)) if "outbox" in present else OutboxModel()
    parts.ops = validate(document, OpsModel, ("ops",)) if "ops" in present else OpsModel()
    for position, _ in document.items("publishers"):
        publisher = validate(document, MqttModel, ("publishers", position))
        if publisher is not None:
            parts.publishers[position] = publisher
    parts.devices = validate_devices(document, parts.directory, registry)
    return parts


def _check_top(document: Document) -> None:
    fields = keys(AgentModel)
    for key in document.root.children:
        if key not in fields:
            document.report((key,), wording.unknown_key(key, fields), at_key=True)
    for key, known in fields.items():
        found = document.root.child(key)
        if found is None:
            if known.is_required() and not document.root.is_partial:
                document.report((key,), wording.missing_key(key))
        elif key in _LISTS and not found[1].is_broken and not isinstance(found[1].value, list):
            document.report((key,), wording.wrong_type(["a list"], found[1]))


def validate_devices(
    document: Document,
    directory: Path,
    registry: Registry,
    model_of: Callable[[DriverSpec], type[DeviceModel] | None] = lambda spec: spec.config_model,
) -> dict[int, tuple[DriverSpec, DeviceModel]]:
    """Return the devices that are valid in themselves, by position, and report every mistake in the others.

    ``model_of`` says what a device of a driver is validated against; None: not at all, and it is left out.
    """
    devices: dict[int, tuple[DriverSpec, DeviceModel]] = {}
    registry = registry.extended(_drivers_path(document, directory))
    try:
        protocols = registry.protocols()
    except DriverLoadError as exc:
        document.report(("drivers_path",) if "drivers_path" in document.root.children else ("devices",), str(exc))
        protocols = {}
    for position, node in document.items("devices"):
        at = ("devices", position)
        found = node.child("driver")
        spec = None
        if found is not None and isinstance(found[1].value, str):
            spec = _driver(document, (*at, "driver"), found[1].value, protocols, registry)
        if spec is None:
            validate(document, DeviceModel, at, allow_unknown_keys=True)
        elif (model := model_of(spec)) is not None:
            device = validate(document, model, at)
            if device is not None:
                devices[position] = (spec, _rooted(device, directory))
    return devices


def _driver(
    document: Document, at: Location, protocol: str, protocols: dict[str, str], registry: Registry
) -> DriverSpec | None:
    if not protocols:
        return None  # the registry itself has a problem, which is reported
    if protocol not in protocols:
        document.report(at, f"no driver {protocol!r}{wording.did_you_mean(protocol, protocols)}")
        return None
    try:
        return registry.load(protocol)
    except DriverLoadError as exc:
        document.report(at, str(exc))
        return None


def _drivers_path(document: Document, directory: Path) -> list[Path]:
    folders = []
    for position, node in document.items("drivers_path"):
        at = ("drivers_path", position)
        if not isinstance(node.value, str):
            document.report(at, wording.wrong_type(["text"], node))
        elif "\0" in node.value or not (directory / node.value).is_dir():
            document.report(at, f"{directory / node.value} is not a folder")
        else:
            folders.append(directory / node.value)
    return folders


def _rooted(model: M, directory: Path) -> M:
    """Return ``model`` with its relative paths, which a driver cannot place, made absolute."""
    if not holds(type(model), Path):
        return model
    return model.model_copy(update={key: _rooted_value(value, directory) for key, value in model})


def _rooted_value(value: object, directory: Path) -> object:
    if isinstance(value, Path):
        return directory / value
    if isinstance(value, BaseModel):
        return _rooted(value, directory)
    if isinstance(value, list):
        return [_rooted_value(item, directory) for item in value]
    return value
