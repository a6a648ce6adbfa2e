"""What identifier codes are made of, and where in the document a wrong one comes from."""

import re

from edge_agent.config.node import Document
from edge_agent.config.parts import Parts
from edge_agent.config.shape import Location
from edge_agent.driver import DeviceModel
from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Fault
from edge_agent.identify.options import DeviceIdentity, IdentifierOptions, PointIdentity
from edge_agent.identify.plan import GATEWAY, device_key, draw, point_key
from edge_agent.model import DeviceId, GatewayId, PointName


def identifier_options(parts: Parts) -> IdentifierOptions | None:
    """Return the options of the ``identifiers:`` section; None without one, or without a gateway."""
    model, gateway = parts.identifiers, parts.gateway
    if model is None or gateway is None:
        return None
    return IdentifierOptions(
        prefix=model.prefix,
        gateway=GatewayId(gateway.id),
        # a device that is switched off keeps its code
        devices=tuple(
            _identity(device, parts.found[position].written if position in parts.found else len(device.points))
            for position, (_, device) in parts.devices.items()
        ),
        gateway_template=model.gateway,
        device_template=model.device,
        point_template=model.point,
        gateway_suffix=gateway.identifier,
        gateway_labels=dict(gateway.labels),
        allow_placeholder=model.allow_placeholder,
        gateway_name=gateway.name,
    )


def check_codes(document: Document, parts: Parts) -> None:
    """Report each code that cannot be given: at the template if that is wrong, else at the object."""
    options = identifier_options(parts)
    if options is None:
        return
    places = _places(parts)
    labels = set(options.gateway_labels).union(*(device.labels for device in options.devices))
    at_template: set[str] = set()
    for problem in draw(options).problems:
        key, _, message = str(problem).partition(": ")
        template, at = places[key]
        suffix = document.locate((*at, "identifier"))
        if not suffix.extra and isinstance(suffix.node.value, str):
            document.report(suffix.path, message)
        elif not _is_template_wrong(problem, labels):
            document.report(at, message)
        elif template not in at_template:
            at_template.add(template)
            document.report(("identifiers", template), message)


def _is_template_wrong(problem: IdentifierError, labels: set[str]) -> bool:
    """Return whether the template names nobody; a label that only this object lacks is the object's mistake."""
    if problem.code == Fault.UNKNOWN_PLACEHOLDER:
        unknown = re.match(r"\{([^{}]*)\}", problem.hint)
        return unknown is None or unknown[1] not in labels
    return problem.code == Fault.BAD_TEMPLATE and problem.position >= 0


def _places(parts: Parts) -> dict[str, tuple[str, Location]]:
    """Return object key → key of its template and its place."""
    places: dict[str, tuple[str, Location]] = {
        "prefix": ("prefix", ("identifiers", "prefix")),
        GATEWAY: ("gateway", ("gateway",)),
    }
    for position, (_, device) in parts.devices.items():
        at: Location = ("devices", position)
        name = DeviceId(device.id)
        places.setdefault(device_key(name), ("device", at))
        for index, point in enumerate(device.points):
            places.setdefault(point_key(name, PointName(point.name)), ("point", (*at, "points", index)))
    return places


def _identity(model: DeviceModel, written: int) -> DeviceIdentity:
    points = tuple(
        PointIdentity(
            PointName(point.name),
            suffix=point.identifier if isinstance(point.identifier, str) else "",
            unit=point.unit,
            semantic_id=point.semantic_id,
            range=None if point.range is None else (point.range.low, point.range.high),
            is_found=index >= written,
        )
        for index, point in enumerate(model.points)
        if point.identifier
    )
    return DeviceIdentity(DeviceId(model.id), model.identifier, dict(model.labels), points, model.name)
