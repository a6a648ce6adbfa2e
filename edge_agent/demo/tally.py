"""What an independent subscriber has received, counted by the identity of each reading."""

import json
import logging
from collections import OrderedDict
from typing import Any

_log = logging.getLogger(__name__)
_SCHEMA = "edge.data/1"
_REMEMBERED_ROWS = 100_000

Shape = tuple[tuple[str, int], ...]
"""Names of the points of one row, each with its number of readings."""


class Tally:
    """What has arrived, by identity: gateway, epoch, row, point, k.

    Within a row the readings of a point are numbered from 0, so a row is remembered as names and numbers. The last
    100,000 rows are remembered; one that comes again later than that would be counted as new.
    """

    def __init__(self) -> None:
        self.received = 0
        self.duplicated = 0
        self.messages = 0
        self.malformed = 0
        self.devices: set[str] = set()
        self.codes: set[str] = set()
        self._rows: OrderedDict[tuple[str, str, int], Shape] = OrderedDict()
        self._shapes: dict[Shape, Shape] = {}

    def take_data(self, payload: bytes | bytearray) -> None:
        """Count the readings of one data message; one that is not ``edge.data/1`` is counted as malformed."""
        self.messages += 1
        try:
            message = json.loads(payload)
            rows = [
                ((str(message["gateway"]), str(message["epoch"]), int(row["row"])), _shape(row["points"]))
                for row in message["rows"]
            ]
            device, code, schema = str(message["device"]), message.get("code"), message["schema"]
        except (ValueError, KeyError, TypeError, AttributeError):
            schema = None
        if schema != _SCHEMA:
            self._refuse("data", payload)
            return
        self.devices.add(device)
        if code:
            self.codes.add(code)
        for identity, shape in rows:
            self._take_row(identity, shape)

    def take_directory(self, payload: bytes | bytearray) -> None:
        """Note the codes of a directory message."""
        try:
            message = json.loads(payload)
            entries = [message["gateway"], *message["devices"].values(), *message["points"].values()]
            self.codes.update(str(entry["handle"]) for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._refuse("directory", payload)

    def report(self) -> dict[str, Any]:
        """Return the present state as JSON."""
        return {
            "received": self.received,
            "duplicated": self.duplicated,
            "messages": self.messages,
            "malformed": self.malformed,
            "devices": sorted(self.devices),
            "codes": sorted(self.codes),
        }

    def _refuse(self, kind: str, payload: bytes | bytearray) -> None:
        self.malformed += 1
        _log.error("malformed %s message: %r", kind, bytes(payload[:500]))

    def _take_row(self, identity: tuple[str, str, int], shape: Shape) -> None:
        known = dict(self._rows.get(identity, ()))
        for name, count in shape:
            before = known.get(name, 0)
            self.duplicated += min(before, count)
            self.received += max(0, count - before)
            known[name] = max(before, count)
        union = tuple(known.items())
        self._rows[identity] = self._shapes.setdefault(union, union)
        if len(self._rows) > _REMEMBERED_ROWS:
            self._rows.popitem(last=False)


def _shape(points: dict[str, dict[str, Any]]) -> Shape:
    return tuple((name, len(columns["v"])) for name, columns in points.items())
