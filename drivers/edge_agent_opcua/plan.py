"""From the configuration to what is asked of a server. Pure: the server's limits are applied by the session."""

import math
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

from edge_agent_opcua.browse_path import Address, parse_address
from edge_agent_opcua.config import Mode, OpcUaDevice
from edge_agent_opcua.event import Wanted
from edge_agent_opcua.point import Discard, ServerDeadband, Trigger
from edge_agent_opcua.profiles import MAX_OPERATIONS

MAX_SEQUENCE = 0xFFFF_FFFF
QUEUE_HEADROOM = 2  # samples kept at the server, per sample taken between two publications
FASTEST_S = 0.01  # what "as fast as it can" is taken for when the queue is reckoned
EVENT_QUEUE = 1000  # events kept at the server between two publications
MIN_KEEP_ALIVES = 3  # OPC 10000-4 §5.14.2.2: the lifetime is at least three times the keep-alive

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """One point that the server reports by itself.

    Attributes:
        sampling_s: 0 = as fast as the server can.
        queue_size: samples that the server keeps between two publications.
        events: which ones of the node, if it is not its value that is reported.
    """

    point: int
    sampling_s: float
    queue_size: int
    discard: Discard = Discard.OLDEST
    trigger: Trigger = Trigger.VALUE
    deadband: ServerDeadband | None = None
    events: Wanted | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether the server is asked for other than every change of value or status, which all of them can do."""
        return self.deadband is not None or self.trigger is not Trigger.VALUE


@dataclass(frozen=True, slots=True)
class Read:
    """One planned exchange: a cyclic read of ``points``, split by the session as the server's limits demand."""

    points: tuple[int, ...]
    nodes: tuple[Address, ...]

    def __str__(self) -> str:
        more = f" … {self.nodes[-1]}" if len(self.nodes) > 1 else ""
        return f"Read {len(self.nodes)} values: {self.nodes[0]}{more}"


@dataclass(frozen=True, slots=True)
class Publishing:
    """What is asked of one of the server's subscriptions."""

    interval_s: float
    keep_alive_count: int
    lifetime_count: int
    items: tuple[Item, ...]


def addresses(config: OpcUaDevice) -> tuple[Address, ...]:
    """Return the node of each point, by point index."""
    return tuple(parse_address(point.node) for point in config.points)


def polled_points(config: OpcUaDevice) -> tuple[int, ...]:
    """Return the indexes of the points that the agent asks for on schedule."""
    return tuple(i for i, point in enumerate(config.points) if (point.mode or config.mode) is Mode.POLL)


def reported_points(config: OpcUaDevice) -> tuple[int, ...]:
    """Return the indexes of the points that the server reports."""
    return tuple(i for i, point in enumerate(config.points) if (point.mode or config.mode).is_subscribed)


def checked_points(config: OpcUaDevice) -> tuple[int, ...]:
    """Return the indexes of the points that are read besides, to check what the server reports."""
    return tuple(i for i, point in enumerate(config.points) if (point.mode or config.mode) is Mode.BOTH)


def subscriptions(config: OpcUaDevice) -> tuple[Publishing, ...]:
    """Return a subscription for each publishing interval, fastest first, with the points that it shall report."""
    by_interval: dict[float, list[Item]] = {}
    for index in reported_points(config):
        publishing_s = _first(
            config.points[index].publishing_interval, config.publishing_interval, default=config.interval
        )
        by_interval.setdefault(publishing_s, []).append(_item(config, index, publishing_s))
    return tuple(
        _publishing(config, interval_s, tuple(by_interval[interval_s])) for interval_s in sorted(by_interval)
    )


def samples_per_s(wanted: Iterable[Publishing]) -> float:
    """Return how many samples a second the server is asked to take, as far as that is said."""
    return sum(1 / item.sampling_s for publishing in wanted for item in publishing.items if item.sampling_s)


def _item(config: OpcUaDevice, index: int, publishing_s: float) -> Item:
    point = config.points[index]
    if point.wanted is not None:
        return Item(
            index, 0.0, point.queue_size or EVENT_QUEUE, point.discard or config.discard, events=point.wanted
        )
    sampling_s = _first(point.sampling_interval, point.interval, config.sampling_interval, default=config.interval)
    samples = math.ceil(QUEUE_HEADROOM * publishing_s / (sampling_s or FASTEST_S))
    return Item(
        index,
        sampling_s,
        point.queue_size or config.queue_size or max(2, samples),
        point.discard or config.discard,
        point.trigger or config.trigger,
        point.server_deadband,
    )


def _publishing(config: OpcUaDevice, interval_s: float, items: tuple[Item, ...]) -> Publishing:
    keep_alive_count = max(1, round(config.keep_alive / interval_s))
    lifetime_count = max(MIN_KEEP_ALIVES * keep_alive_count, math.ceil(config.session_timeout / interval_s))
    return Publishing(interval_s, keep_alive_count, lifetime_count, items)


def session_timeout_s(config: OpcUaDevice) -> float:
    """Return the session time-out to ask for: three of the slowest polls must fit into it."""
    polled = (config.points[i].interval or config.interval for i in polled_points(config))
    return max(config.session_timeout, 3 * max(polled, default=0.0))


def reads(nodes: Sequence[Address], points: Sequence[int], refused: AbstractSet[int]) -> tuple[Read, ...]:
    """Group ``points`` into exchanges; one that is in ``refused`` has one of its own."""
    shared = sorted(set(points) - refused)
    alone = [[point] for point in sorted(set(points) & refused)]
    groups = [*chunks(shared, MAX_OPERATIONS), *alone]
    return tuple(Read(tuple(group), tuple(nodes[point] for point in group)) for group in groups)


def chunks(things: Sequence[T], limit: int) -> Iterator[Sequence[T]]:
    """Yield ``things`` in order, at most ``limit`` at a time."""
    for start in range(0, len(things), limit):
        yield things[start : start + limit]


def missed(expected: int | None, sequence: int, *, is_keep_alive: bool) -> int:
    """Return how many notifications are missing between the ``expected`` sequence number and ``sequence``.

    A keep-alive carries the number of the notification that comes next (OPC 10000-4 §7.26). Numbers behind the
    expected one, which some servers put into keep-alives, mean nothing is missing.

    Args:
        expected: None before the first notification.
        sequence: what came.
        is_keep_alive: the notification held no data.
    """
    if expected is None or sequence == expected:
        return 0
    if sequence > expected:
        return sequence - expected
    return 0 if is_keep_alive else 1


def following(sequence: int) -> int:
    """Return the number after ``sequence``: 32 bit, never 0 (OPC 10000-4 §7.26)."""
    return 1 if sequence >= MAX_SEQUENCE else sequence + 1


def _first(*values: float | None, default: float) -> float:
    return next((value for value in values if value is not None), default)
