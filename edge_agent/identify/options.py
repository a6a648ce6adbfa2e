"""What the configuration says about identifier codes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.model import DeviceId, GatewayId, PointName


@dataclass(frozen=True, slots=True)
class PointIdentity:
    """A declared point: it gets a code of its own. ``suffix``: see ``DeviceIdentity``.

    Attributes:
        range: lowest and highest value that is expected; None = not known.
        is_found: the device says that it has it, and nobody wrote it: what is wrong with its code costs the code.
    """

    name: PointName
    suffix: str = ""
    unit: str = ""
    semantic_id: str = ""
    range: tuple[float, float] | None = None
    is_found: bool = False


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """What codes are made of for one device.

    Attributes:
        suffix: empty = by the template; a bare suffix is minted under the own prefix; a whole handle under the
            own prefix is taken as it is.
        labels: fill templates; ``serial``, ``giai``, ``product_instance_uri`` are published beside the code, too.
        name: for people and exports.
    """

    id: DeviceId
    suffix: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    points: tuple[PointIdentity, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class IdentifierOptions:
    """The ``identifiers:`` section.

    Attributes:
        prefix: allocated by a second-level node (``88.101.0042``); never invented.
        gateway_template, device_template, point_template: suffix templates; ``{gateway}``, ``{device}``,
            ``{point}`` and the device's labels (``{asset}``, …) are filled in.
        allow_placeholder: accept the placeholder prefix ``88.000.…`` (demonstrations only).
    """

    prefix: str
    gateway: GatewayId
    devices: tuple[DeviceIdentity, ...]
    gateway_template: str = "GW.{gateway}"
    device_template: str = "EQ.{device}"
    point_template: str = "EQ.{device}.{point}"
    gateway_suffix: str = ""
    gateway_labels: Mapping[str, str] = field(default_factory=dict)
    allow_placeholder: bool = False
    gateway_name: str = ""
