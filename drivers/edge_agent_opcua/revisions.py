"""What a server does otherwise than it was asked, for people. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from edge_agent.model.quantity import format_duration
from edge_agent_opcua.plan import Item

TOLERANCE = 1.01
MAX_NAMED = 5
CLOCKS_APART_S = (2, 10, 60, 600)  # the first is more than an answer takes
HOURS_FROM_S = 1800  # a clock of another time zone is best told in hours
HOUR_S = 3600
DAYS_FROM_S = 86_400 - HOURS_FROM_S


class Revisions:
    """Collects the differences of one session.

    Args:
        names: of the points, by index.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._slower: dict[int, tuple[float, float]] = {}
        self._shorter: dict[int, tuple[int, int]] = {}
        self._unfiltered: set[int] = set()
        self._publishing: dict[float, float] = {}
        self._left_out: dict[bool, set[int]] = {False: set(), True: set()}  # variables, events

    def published(self, asked_s: float, given_s: float) -> None:
        """A subscription publishes each ``given_s``."""
        if given_s > asked_s * TOLERANCE:
            self._publishing[asked_s] = given_s

    def item(self, item: Item, sampling_s: float, queue_size: int) -> None:
        """A point is sampled each ``sampling_s``, and so many samples are kept. 0 of either says nothing."""
        if sampling_s > max(item.sampling_s, 1e-3) * TOLERANCE:
            self._slower[item.point] = item.sampling_s, sampling_s
        if 0 < queue_size < item.queue_size:
            self._shorter[item.point] = item.queue_size, queue_size

    def unfiltered(self, points: Iterable[int]) -> None:
        """Points are reported at every change, for want of a deadband or trigger."""
        self._unfiltered.update(points)

    def has_room(self, point: int, *, is_event: bool, has_room: bool) -> None:
        """There is room for a point in some subscription of the server, or there is none."""
        if has_room:
            self._left_out[is_event].discard(point)
        else:
            self._left_out[is_event].add(point)

    def remarks(self) -> tuple[str, ...]:
        """Return a sentence for each kind of difference."""
        told = [
            f"the server publishes each {format_duration(given_s)}, not each {format_duration(asked_s)}"
            for asked_s, given_s in self._publishing.items()
        ]
        told += self._about(
            {
                point: f"each {format_duration(given_s)}, not each {format_duration(asked_s)}"
                for point, (asked_s, given_s) in self._slower.items()
            },
            "the server samples more slowly than asked",
        )
        told += self._about(
            {point: f"{given}, not {asked}" for point, (asked, given) in self._shorter.items()},
            "the server keeps fewer samples than asked; faster changes are lost there",
        )
        told += self._about(
            dict.fromkeys(self._unfiltered, ""),
            "the server has no such deadband or trigger and reports every change",
        )
        told += self._about(
            dict.fromkeys(self._left_out[False], ""),
            "the server has no room for more variables in its subscriptions; these are polled, each at its "
            "interval, until the next connection",
        )
        told += self._about(
            dict.fromkeys(self._left_out[True], ""),
            "the server has no room for more events in its subscriptions; these are tried again",
        )
        return tuple(told)

    def _about(self, differences: Mapping[int, str], sentence: str) -> list[str]:
        by_difference: dict[str, list[str]] = {}
        for point in sorted(differences):
            by_difference.setdefault(differences[point], []).append(self._names[point])
        told = []
        for text, names in by_difference.items():
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            who = f"{', '.join(names[:MAX_NAMED])}{more}"
            told.append(f"{sentence} ({text}): {who}" if text else f"{sentence}: {who}")
        return told


def clocks_apart(ahead_s: float) -> tuple[str, ...]:
    """Return a sentence if the server's clock is far ahead of ours (``ahead_s``; negative: behind), or nothing.

    It is coarse, so that a clock that drifts is not told of anew in each session.
    """
    apart_s = abs(ahead_s)
    passed = [step_s for step_s in CLOCKS_APART_S if apart_s > step_s]
    if not passed:
        return ()
    if apart_s >= DAYS_FROM_S:
        about = "a day or more"
    elif apart_s >= HOURS_FROM_S:
        about = f"about {max(1, round(apart_s / HOUR_S))} h"
    else:
        about = f"more than {format_duration(passed[-1])}"
    direction = "ahead of" if ahead_s > 0 else "behind"
    return (f"the server's clock is {about} {direction} ours; its readings carry its times",)
