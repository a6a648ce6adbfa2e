"""What surrounds the values in the answers of a server: ReadResponse and PublishResponse. Pure.

The values themselves stay bytes here; ``decode.Decoder`` makes columns of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge_agent_opcua.binary import MalformedError, Reader, Structure

# Nodes of the binary encodings (OPC 10000-6 annex A, NodeIds.csv).
READ_RESPONSE, PUBLISH_RESPONSE, HISTORY_READ_RESPONSE = 634, 829, 667
HISTORY_DATA = 658
DATA_CHANGE, EVENTS, STATUS_CHANGE = 811, 916, 820


@dataclass(frozen=True, slots=True)
class Values:
    """DataValues of a ReadResponse: ``count`` of them, from ``at`` on."""

    data: bytes
    at: int
    count: int

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """A HistoryReadResult (OPC 10000-4 §5.11.3.2).

    Attributes:
        more: what to ask with for what follows; None or empty: nothing does.
    """

    status: int
    more: bytes | None
    values: Values | None

    @property
    def is_bad(self) -> bool:
        """Whether the server gives nothing."""
        return bool(self.status >> 31)


@dataclass(frozen=True, slots=True)
class Notification:
    """What a PublishResponse holds.

    Attributes:
        changes: bodies of DataChangeNotifications.
        event_lists: bodies of EventNotificationLists.
        ended: the status of a StatusChangeNotification, if there is one.
        is_keep_alive: it has no parts; what it then says is the number that comes next.
    """

    subscription_id: int
    sequence: int
    is_keep_alive: bool
    changes: tuple[bytes, ...] = ()
    event_lists: tuple[bytes, ...] = ()
    ended: int | None = None


def service_result(reader: Reader, response: int) -> int:
    """Read what every answer begins with; return its StatusCode (OPC 10000-4 §7.33).

    Args:
        reader: at the beginning.
        response: node of the encoding that it must have.
    """
    told = reader.node_id()
    if told.identifier != response or told.namespace_index:
        raise MalformedError(f"an answer of type {told} in place of i={response}")
    reader.skip(8 + 4)  # time stamp, handle of the request
    result = reader.uint32()
    reader.diagnostics()
    for _ in range(reader.count(4)):
        reader.byte_string()
    reader.structure()
    return result


def read_values(reader: Reader) -> Values:
    """Read what follows the header of a ReadResponse."""
    count = reader.count(1)
    return Values(reader.data, reader.at, count)


def history_parts(reader: Reader) -> list[HistoryPart]:
    """Read what follows the header of a HistoryReadResponse: a result for each node."""
    return [_history_part(reader) for _ in range(reader.count(4 + 4 + 3))]


def _history_part(reader: Reader) -> HistoryPart:
    status, more, data = reader.uint32(), reader.byte_string(), reader.structure()
    if data.type_id.identifier != HISTORY_DATA or data.type_id.namespace_index or data.body is None:
        return HistoryPart(status, more, None)
    return HistoryPart(status, more, read_values(Reader(data.body)))


def notification(reader: Reader) -> Notification:
    """Read what follows the header of a PublishResponse (OPC 10000-4 §5.14.5, §7.26)."""
    subscription_id = reader.uint32()
    reader.skip(4 * reader.count(4))  # sequence numbers that could be asked for again
    reader.skip(1)  # whether more is waiting
    sequence = reader.uint32()
    reader.skip(8)  # time stamp
    parts = [reader.structure() for _ in range(reader.count(3))]
    changes, event_lists, ends = ([*_bodies(parts, kind)] for kind in (DATA_CHANGE, EVENTS, STATUS_CHANGE))
    ended = Reader(ends[0]).uint32() if ends else None
    return Notification(subscription_id, sequence, not parts, tuple(changes), tuple(event_lists), ended)


def _bodies(parts: Iterable[Structure], kind: int) -> Iterator[bytes]:
    for part in parts:
        if part.type_id.identifier == kind and not part.type_id.namespace_index and part.body is not None:
            yield part.body
