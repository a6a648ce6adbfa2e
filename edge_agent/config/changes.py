"""What another configuration changes in a running agent, and what of it cannot be changed there. Pure."""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from edge_agent.collect.options import DeviceOptions
from edge_agent.config.options import AgentOptions
from edge_agent.driver import Shared
from edge_agent.model import DeviceId, PublisherId

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Difference(Generic[K]):
    """Of the parts of one kind: which came, went, are others now, and how many stay as they are.

    Attributes:
        adjusted: they are others now, too, but need not stop for it.
    """

    added: tuple[K, ...] = ()
    removed: tuple[K, ...] = ()
    changed: tuple[K, ...] = ()
    adjusted: tuple[K, ...] = ()
    unchanged: int = 0

    @property
    def stopped(self) -> tuple[K, ...]:
        """Those that have to stop."""
        return self.removed + self.changed

    @property
    def started(self) -> tuple[K, ...]:
        """Those that have to start."""
        return self.added + self.changed

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.adjusted)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done to get from one configuration to another.

    Attributes:
        settings: dotted keys of what changes beside devices and publishers, such as ``outbox.max_size``.
        refused: dotted keys of what a running agent cannot change: the whole is refused.
    """

    devices: Difference[DeviceId] = field(default_factory=Difference)
    publishers: Difference[PublisherId] = field(default_factory=Difference)
    settings: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.devices or self.publishers or self.settings or self.refused)

    @property
    def has_tls_of_pages(self) -> bool:
        """Whether the status page shows another certificate."""
        return "ops.tls" in self.settings

    def as_json(self) -> dict[str, Any]:
        """Return what ``edge-agent reload --json`` prints of it."""
        parts: dict[str, Any] = {
            kind: {
                "added": list(part.added),
                "removed": list(part.removed),
                "changed": list(part.changed),
                "adjusted": list(part.adjusted),
                "unchanged": part.unchanged,
            }
            for kind, part in (("devices", self.devices), ("publishers", self.publishers))
        }
        return parts | {"settings": list(self.settings)}


Reported = Callable[[DeviceOptions], Collection[int]]
"""Returns which points of a device are told by itself."""


def _all_points(device: DeviceOptions) -> Collection[int]:
    return range(len(device.table.points))


def compare(old: AgentOptions, new: AgentOptions, reported: Reported = _all_points) -> Changes:
    """Return what gets a running agent from ``old`` to ``new``; the order of devices and publishers is nothing."""
    settings: list[str] = []
    refused: list[str] = []
    if old.gateway != new.gateway:
        refused.append("gateway.id")
    if old.gateway_name != new.gateway_name:
        settings.append("gateway.name")
    for key in _differing(old.outbox, new.outbox):
        (refused if key == "directory" else settings).append(f"outbox.{_KEYS.get(key, key)}")
    is_same_scheme = bool(old.ops.files) == bool(new.ops.files)  # the listener speaks HTTP or HTTPS
    for name in (_KEYS.get(key, key) for key in _differing(old.ops, new.ops)):
        is_followed = name in {"log_level", "token"} or (name == "tls" and is_same_scheme)
        (settings if is_followed else refused).append(f"ops.{name}")
    if _frame(old) != _frame(new):
        settings.append("identifiers")
    # With and without codes are two ways to speak to a broker, and one session has one of them.
    all_publishers = (old.identifiers is None) != (new.identifiers is None)
    publishers = difference(_by_id(old.publishers), _by_id(new.publishers), set(), all_changed=all_publishers)
    before, after = _by_id(old.devices), _by_id(new.devices)
    touched = _on_changed_lines(before, after)
    devices = difference(before, after, touched)
    adjusted = tuple(
        device
        for device in devices.changed
        if device not in touched and _may_go_on(before[device], after[device], reported)
    )
    changed = tuple(device for device in devices.changed if device not in adjusted)
    devices = replace(devices, changed=changed, adjusted=adjusted)
    return Changes(devices, publishers, tuple(dict.fromkeys(settings)), tuple(dict.fromkeys(refused)))


def _may_go_on(old: DeviceOptions, new: DeviceOptions, reported: Reported) -> bool:
    """Return whether ``old`` is made ``new`` in its session.

    What a deadband swallowed of a polled point comes with the next poll; of one that the device reports, it comes
    with a new session only.
    """
    if not old.goes_on_as(new):
        return False
    others = old.other_deadbands(new)
    return not others or others.isdisjoint(reported(new))


def difference(
    old: Mapping[K, object], new: Mapping[K, object], touched: set[K], *, all_changed: bool = False
) -> Difference[K]:
    """Compare parts by id; those of ``touched`` count as changed although they are equal."""
    stay = [key for key in new if key in old]
    changed = tuple(key for key in stay if all_changed or key in touched or old[key] != new[key])
    return Difference(
        added=tuple(key for key in new if key not in old),
        removed=tuple(key for key in old if key not in new),
        changed=changed,
        unchanged=len(stay) - len(changed),
    )


_KEYS = {
    "commit_interval_s": "commit_interval",
    "commit_bytes": "commit_size",
    "max_bytes": "max_size",
    "max_age_s": "max_age",
    "reserve_bytes": "reserve",
    "memory_bytes": "memory",
    "write_budget_bytes": "write_budget",
    "dead_letter_bytes": "dead_letter_size",
    "http_host": "http",
    "http_port": "http",
    "certificate": "tls",
    "key": "tls",
    "files": "tls",
}
"""How the YAML calls what the options call otherwise."""


def _differing(old: Any, new: Any) -> Iterator[str]:
    """Yield the names of the fields that differ."""
    for name in type(old).__dataclass_fields__:
        if getattr(old, name) != getattr(new, name):
            yield name


def _frame(options: AgentOptions) -> object:
    """Return what the configuration says of codes, less the devices, which are compared by themselves."""
    return None if options.identifiers is None else replace(options.identifiers, devices=())


def _by_id(parts: Iterable[Any]) -> dict[Any, Any]:
    return {part.id: part for part in parts}


def _on_changed_lines(
    old: Mapping[DeviceId, DeviceOptions], new: Mapping[DeviceId, DeviceOptions]
) -> set[DeviceId]:
    """Return the devices that share something that is set up in another way now: it is closed by all of them."""
    before, after = _settings(old), _settings(new)
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    return {
        device
        for device, options in new.items()
        if any((options.spec.protocol, shared.name) in changed for shared in options.shared)
    }


def _settings(devices: Mapping[DeviceId, DeviceOptions]) -> dict[tuple[str, str], dict[str, str]]:
    """Return how each shared thing is set up, by protocol and name: what its devices say of it together."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for options in devices.values():
        shared: Shared
        for shared in options.shared:
            found.setdefault((options.spec.protocol, shared.name), {}).update(shared.settings)
    return found
