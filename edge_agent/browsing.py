"""The ability of a driver to browse: to list what a device offers as points. Part of the contract.

The command ``edge-agent browse`` runs a browser in a process of its own, for commissioning.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FoundPoint:
    """Something of a device that can be a point.

    Attributes:
        keys: its section under ``points:``, less ``name``; what identifies it comes first.
        name: proposed; one that fits as an id, and no other one of this browse has.
        path: where it stands in the device, from the outermost level on, joined with ``/``.
        type: of its value, in the words of the protocol.
        value: at present, for people.
        hindrance: why it cannot be a point as it stands; empty if it can.
    """

    keys: Mapping[str, object]
    name: str
    path: str
    type: str
    value: str
    hindrance: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a browse is: nodes that were looked into, and those known to come."""

    done: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Browsing:
    """What a browser needs of its surroundings, and what is wanted of it.

    Attributes:
        tell: takes points as they are found; must not block.
        progress: takes how far it is; must not block.
        wants: whether a path is of interest; the others are looked into and not told.
        most: nodes that are looked into altogether.
        start: where to begin, in the words of the protocol; empty: everything that the device has of its own.
        profile: of ``BrowserSpec.profiles``: tell only what is known of this kind of device, named after it.
    """

    tell: Callable[[Sequence[FoundPoint]], None]
    progress: Callable[[Progress], None]
    wants: Callable[[str], bool]
    most: int
    start: str = ""
    profile: str = ""


@dataclass(frozen=True, slots=True)
class BrowseEnd:
    """How a browse ended.

    Attributes:
        is_complete: False: it stopped at ``Browsing.most``.
        notes: what a person should know, such as parts that the device does not show; bounded.
        labels: what the device says of itself, for ``labels:`` of it; with a profile only.
    """

    is_complete: bool
    notes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrowserSpec:
    """The ability to list what a device offers.

    Attributes:
        device: makes an instance of the driver's ``config_model`` of an address alone, to be browsed without a
            configuration, with any points. Raises ``ValueError``: it is none.
        browse: lists what a configured device offers, given the ``Context`` of it and the instance. Raises
            ``DriverError``. On cancellation nothing stays open. Its time-outs are those of the configuration.
        profiles: the kinds of devices that it can recognise.
    """

    device: Callable[[str], Any]
    browse: Callable[[Any, Any, Browsing], Coroutine[Any, Any, BrowseEnd]]
    profiles: tuple[str, ...] = ()
