"""From leased rows to messages: one device and one epoch each, up to a size. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from edge_agent.model import DeviceId
from edge_agent.outbox.rows import Row, Stream
from edge_agent.publish.json_encoder import encode_gap, encode_head, encode_message, encode_row
from edge_agent.publish.messages import Message


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and the rows in it."""

    message: Message
    device: DeviceId
    stream: Stream
    row_ids: tuple[int, ...]
    readings: int
    times_ns: tuple[int, ...]
    """Of each row's first reading."""
    rows: tuple[Row, ...] = ()
    """As leased, where there are several: to send them one by one."""


@dataclass(frozen=True, slots=True)
class Packer:
    """Makes messages of rows.

    Attributes:
        topic: gives the topic of a device.
        gap_topic: gives the topic of a device's gap records.
        code: gives the identifier code of a device, or None.
        limit_bytes: gives the size up to which rows for a topic are joined; a larger row goes alone.
    """

    gateway: str
    topic: Callable[[DeviceId], str]
    gap_topic: Callable[[DeviceId], str]
    code: Callable[[DeviceId], str | None]
    limit_bytes: Callable[[str], int]

    def pack(self, stream: Stream, rows: Iterable[Row]) -> Iterator[Outgoing]:
        """Yield the messages of a lease; the rows of one device and epoch stay in order.

        A message is encoded when it is asked for, so that one lease is not in memory twice.
        """
        groups: dict[tuple[DeviceId, str], list[Row]] = {}
        gaps: list[Row] = []
        for row in rows:
            if row.gap is None:
                groups.setdefault((row.table.device, row.epoch), []).append(row)
            else:
                gaps.append(row)
        for (device, epoch), group in groups.items():
            yield from self._pack_group(stream, device, epoch, group)
        for row in gaps:
            yield self._pack_gap(stream, row)

    def _pack_gap(self, stream: Stream, row: Row) -> Outgoing:
        device = row.table.device
        payload = encode_gap(self.gateway, self.code(device), row)
        return Outgoing(Message(self.gap_topic(device), payload), device, stream, (row.id,), 0, ())

    def _pack_group(self, stream: Stream, device: DeviceId, epoch: str, group: list[Row]) -> Iterator[Outgoing]:
        head = encode_head(self.gateway, device, self.code(device), epoch)
        topic = self.topic(device)
        limit_bytes = self.limit_bytes(topic)
        rows: list[Row] = []
        encoded: list[bytes] = []

        def outgoing() -> Outgoing:
            return Outgoing(
                Message(topic, encode_message(head, encoded)),
                device,
                stream,
                tuple(row.id for row in rows),
                sum(row.count for row in rows),
                tuple(row.t_first_ns for row in rows if not row.historical),
                tuple(rows) if len(rows) > 1 else (),
            )

        size = 0
        for row in group:
            body = encode_row(row)
            if rows and size + len(body) + 1 > limit_bytes:
                yield outgoing()
                rows, encoded = [], []
            if not rows:
                size = len(head) + len(b"]}") - 1  # no comma before the first
            rows.append(row)
            encoded.append(body)
            size += len(body) + 1
        yield outgoing()
