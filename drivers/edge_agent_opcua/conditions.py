"""Which conditions were told of, so that a refresh tells what is new and what has ended, and nothing twice. Pure.

After a gap the server sends every condition that it retains again (OPC 10000-9 §4.5, §5.5.7). What was told as it
stands is not told a second time; what was told and is not among them is over.
"""

import json
from collections.abc import Mapping, MutableMapping, Sequence

from edge_agent_opcua.event import Event, Wanted

MAX_CONDITIONS = 10_000
"""Of one device; those beyond are not remembered, and told again by each refresh."""
MAX_KEPT_CHARS = 128 * 1024
"""Of what outlives a restart of the agent; what is beyond is told again after it."""

_PREFIX = "condition "

Told = Mapping[str, object]


class Conditions:
    """The conditions of one device that were told and are retained by the server, by point.

    What ``take`` and ``end`` return counts as told when ``keep`` is called; ``undo`` takes it back.

    Attributes:
        wanted: by point index.

    Args:
        state: the driver's learned state: what was told outlives the agent there.
        points: by point index, its name and node, and what is wanted; another one begins anew.
    """

    def __init__(self, state: MutableMapping[str, str], points: Mapping[int, tuple[str, Wanted]]) -> None:
        self._state = state
        self._prefixes = {point: f"{_PREFIX}{name} {wanted} | " for point, (name, wanted) in points.items()}
        self.wanted = {point: wanted for point, (_, wanted) in points.items()}
        self._told: dict[str, Told] = {}
        self._before: dict[str, Told | None] = {}
        self._seen: dict[int, set[str]] = {}
        for key in [key for key in state if key.startswith(_PREFIX)]:
            if key.startswith(tuple(self._prefixes.values())):
                self._told[key] = json.loads(state[key])
            else:
                del state[key]
        self._kept_chars = sum(len(key) + len(state[key]) for key in self._told)

    def begin(self, point: int) -> None:
        """The server starts to send what it retains."""
        self._seen[point] = set()

    def take(self, point: int, event_type: str, event: Event) -> bool:
        """Return whether an event is to be told: not if it is not wanted, or if a refresh repeats it.

        The end of a condition is told, however severe, if its beginning was.
        """
        wanted, severity = self.wanted[point], event.fields.get("severity")
        is_severe = not isinstance(severity, int) or severity >= wanted.severity_min
        if not event.condition:
            return is_severe and not wanted.is_of_conditions
        key = (
            self._prefixes[point] + event.condition.encode(errors="backslashreplace").decode()
        )  # as a file can hold
        told = {"event_type": event_type, **event.fields}
        told.pop("event_id", None)  # some servers make a new one for each refresh
        seen = self._seen.get(point)
        if seen is not None:
            seen.add(key)
            if self._told.get(key) == told:
                return False
        if not is_severe and key not in self._told:
            return False
        self._set(key, told if event.fields.get("retain") is not False else None)
        return True

    def end(self, point: int) -> Sequence[Told]:
        """The server has sent all that it retains: return what was told and is over.

        Nothing if it had not said that it starts.
        """
        seen = self._seen.pop(point, None)
        if seen is None:
            return ()
        prefix = self._prefixes[point]
        over = [key for key in self._told if key.startswith(prefix) and key not in seen]
        ended = [_ended(self._told[key]) for key in over]
        for key in over:
            self._set(key, None)
        return ended

    def retained(self, point: int) -> int:
        """Return how many conditions were told and are retained."""
        return sum(key.startswith(self._prefixes[point]) for key in self._told)

    def abandon(self, point: int) -> None:
        """Nobody knows whether the server has sent all that it retains."""
        self._seen.pop(point, None)

    def lost(self) -> None:
        """The session is lost: what a refresh under way has not told is not over."""
        self._seen.clear()

    def keep(self) -> None:
        """What was returned so far is told."""
        for key in self._before:
            told = self._told.get(key)
            self._kept_chars -= len(key) + len(self._state[key]) if key in self._state else 0
            text = "" if told is None else json.dumps(told, ensure_ascii=True, separators=(",", ":"))
            if text and self._kept_chars + len(key) + len(text) <= MAX_KEPT_CHARS:
                self._state[key] = text
                self._kept_chars += len(key) + len(text)
            else:
                self._state.pop(key, None)
        self._before.clear()

    def undo(self) -> None:
        """What was returned since ``keep`` did not get anywhere: the next refresh tells it."""
        for key, told in self._before.items():
            if told is None:
                self._told.pop(key, None)
            else:
                self._told[key] = told
        self._before.clear()

    def _set(self, key: str, told: Told | None) -> None:
        self._before.setdefault(key, self._told.get(key))
        if told is None:
            self._told.pop(key, None)
        elif key in self._told or len(self._told) < MAX_CONDITIONS:
            self._told[key] = told


def _ended(told: Told) -> Told:
    """Return what is known of a condition that the server retains no longer; when it ended is not."""
    known = {key: content for key, content in told.items() if key != "time"}
    return {**known, **({"active": False} if "active" in told else {}), "retain": False}
