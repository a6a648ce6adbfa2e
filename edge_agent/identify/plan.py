"""What the configuration asks for: one planned code for the gateway, each device and each declared point. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Code, Fault, is_placeholder, mint, parse, parse_prefix
from edge_agent.identify.options import DeviceIdentity, IdentifierOptions, PointIdentity
from edge_agent.identify.template import fill_suffix
from edge_agent.model import DeviceId, PointName

GATEWAY = "gateway"
BUILT_IN = ("gateway", "device", "point")  # placeholders that no label may shadow


def device_key(device: DeviceId) -> str:
    """Return the object key of a device."""
    return f"device/{device}"


def point_key(device: DeviceId, point: PointName) -> str:
    """Return the object key of a point; ids hold no ``/``, so keys never collide."""
    return f"point/{device}/{point}"


@dataclass(frozen=True, slots=True)
class Planned:
    """One object and the code that the configuration of today gives it; of a found one: see ``PointIdentity``."""

    key: str
    handle: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    semantic_id: str = ""
    range: tuple[float, float] | None = None
    is_found: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Planned objects by key, in configured order, and everything that is wrong with the rest.

    Attributes:
        warnings: what works but deserves a look, for people.
    """

    objects: Mapping[str, Planned]
    problems: tuple[IdentifierError, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One object before its code is made: an explicit suffix or handle, else a template and its values."""

    key: str
    explicit: str
    template: str
    values: Mapping[str, str]
    labels: Mapping[str, str]
    name: str = ""
    point: PointIdentity | None = None

    @property
    def is_found(self) -> bool:
        return self.point is not None and self.point.is_found


def draw(options: IdentifierOptions) -> Plan:
    """Make and check every code of the site; problems are collected, never raised."""
    try:
        prefix = parse_prefix(options.prefix, allow_placeholder=options.allow_placeholder)
    except IdentifierError as exc:
        return Plan({}, (concerning("prefix", exc),), ())
    objects: dict[str, Planned] = {}
    problems: list[IdentifierError] = []
    warnings = [f"{prefix} is a placeholder: its codes belong to nobody"] if is_placeholder(prefix) else []
    owners: dict[str, str] = {}
    for wanted in sorted(_wanted(options), key=lambda one: one.is_found):  # what is written has its code first
        try:
            code = _code(prefix, wanted)
            refuse_taken(owners, wanted.key, str(code))
        except IdentifierError as exc:
            problem = concerning(wanted.key, exc)
            if wanted.is_found:  # what a device says of itself never makes a configuration wrong
                warnings.append(f"no code for a point that the device has: {problem}")
            else:
                problems.append(problem)
            continue
        if not code.is_nfc:
            warnings.append(f"{wanted.key}: {str(code)!r} has another Unicode spelling; nodes compare bytes")
        owners[str(code).casefold()] = wanted.key
        point = wanted.point or PointIdentity(PointName(""))
        objects[wanted.key] = Planned(
            wanted.key,
            str(code),
            wanted.name,
            wanted.labels,
            point.unit,
            point.semantic_id,
            point.range,
            wanted.is_found,
        )
    return Plan(objects, tuple(problems), tuple(warnings))


def refuse_taken(owners: Mapping[str, str], key: str, handle: str) -> None:
    """Refuse a handle that another object has, in any case: some nodes fold case.

    Args:
        owners: casefolded handle → key of its owner.
        key: the object that would get the handle.
        handle: as it would be minted.

    Raises:
        IdentifierError: ``not_unique``, naming both objects.
    """
    owner = owners.get(handle.casefold(), key)
    if owner != key:
        raise IdentifierError(
            f"{handle!r} belongs to {owner}, {key} cannot have it too (case does not count)",
            code=Fault.NOT_UNIQUE,
            hint="codes are never used twice; change the template or set identifier: for one of them",
        )


def concerning(key: str, error: IdentifierError) -> IdentifierError:
    """Return the error with the object that it concerns in front."""
    named = IdentifierError(f"{key}: {error}", code=error.code, position=error.position)
    named.hint = error.hint
    return named


def raise_all(problems: Sequence[IdentifierError]) -> None:
    """Raise nothing, the only problem, or one error that lists them (the first fifty)."""
    if len(problems) > 1:
        shown = [str(problem) for problem in problems[:50]]
        rest = [f"and {len(problems) - 50} more"] if len(problems) > 50 else []  # noqa: PLR2004 - said above
        raise IdentifierError("\n".join([*shown, *rest]), code=Fault.SEVERAL)
    if problems:
        raise problems[0]


def _wanted(options: IdentifierOptions) -> Iterator[_Wanted]:
    site = {"gateway": options.gateway}
    yield _Wanted(
        GATEWAY,
        options.gateway_suffix,
        options.gateway_template,
        _values(options.gateway_labels, site),
        options.gateway_labels,
        options.gateway_name,
    )
    for device in options.devices:
        yield from _wanted_of(device, options, {**site, "device": device.id})


def _wanted_of(
    device: DeviceIdentity, options: IdentifierOptions, built_in: Mapping[str, str]
) -> Iterator[_Wanted]:
    values = _values(device.labels, built_in)
    key = device_key(device.id)
    yield _Wanted(key, device.suffix, options.device_template, values, device.labels, device.name)
    for point in device.points:
        yield _Wanted(
            point_key(device.id, point.name),
            point.suffix,
            options.point_template,
            _values(device.labels, {**built_in, "point": point.name}),
            {},
            point.name,
            point,
        )


def _values(labels: Mapping[str, str], built_in: Mapping[str, str]) -> dict[str, str]:
    """Return what a template may name; a label that shadows a built-in word is left out here and refused below."""
    return {**built_in, **{name: value for name, value in labels.items() if name not in BUILT_IN}}


def _code(prefix: str, wanted: _Wanted) -> Code:
    shadowing = [name for name in wanted.labels if name in BUILT_IN]
    if shadowing:
        raise IdentifierError(
            f"label {shadowing[0]!r} has the name of a built-in placeholder",
            code=Fault.BAD_TEMPLATE,
            hint="give the label another name",
        )
    if not wanted.explicit:
        return mint(prefix, fill_suffix(wanted.template, wanted.values))
    # A whole handle was made elsewhere and is accepted as it is; a bare suffix is minted here.
    if not re.match(r"[0-9.]+/", wanted.explicit):
        return mint(prefix, wanted.explicit)
    code = parse(wanted.explicit)
    refuse_foreign(prefix, code)
    return code


def refuse_foreign(prefix: str, code: Code) -> None:
    """Refuse a code under any prefix but the configured one.

    Raises:
        IdentifierError: ``prefix_not_owned``.
    """
    if code.prefix != prefix:
        raise IdentifierError(
            repr(str(code)),
            code=Fault.PREFIX_NOT_OWNED,
            position=0,
            hint=f"the configured prefix is {prefix}; codes under another one are not yours to give",
        )
