"""One publisher's way through the log during one session."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice

from edge_agent.model import PublisherId
from edge_agent.outbox.accounts import Account
from edge_agent.outbox.ledger import Ledger
from edge_agent.outbox.ranges import Ranges, Span
from edge_agent.outbox.records import Read
from edge_agent.outbox.rows import Row, Stream

_LEASE_SPANS = 256
"""Ranges that one lease looks at, where acknowledgements have left many holes."""


class RowCache:
    """The rows of the last commits, decoded: what is live need not be read back.

    Attributes:
        limit_bytes: what it may take.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._rows: OrderedDict[int, tuple[Row, int]] = OrderedDict()
        self._size_bytes = 0

    def add(self, row: Row, size_bytes: int) -> None:
        """Keep a row that takes ``size_bytes`` in memory; the oldest go when there are too many."""
        self._rows[row.id] = row, size_bytes
        self._size_bytes += size_bytes
        while self._size_bytes > self.limit_bytes:
            _, (_, dropped_bytes) = self._rows.popitem(last=False)
            self._size_bytes -= dropped_bytes

    def clear(self) -> None:
        """Drop everything."""
        self._rows.clear()
        self._size_bytes = 0

    def head(self, spans: Sequence[Span], max_rows: int, max_bytes: int) -> list[Row]:
        """Return the first rows of ``spans``, as far as they are here without a gap."""
        rows: list[Row] = []
        for row_id in (row_id for first, last in spans for row_id in range(first, last + 1)):
            row, _ = self._rows.get(row_id, (None, 0))
            if row is None or len(rows) == max_rows or (rows and row.body_bytes > max_bytes):
                break
            max_bytes -= row.body_bytes
            rows.append(row)
        return rows


class Cursor:
    """Hands out each row that the publisher has not acknowledged once. On the loop; made by ``Outbox.begin``.

    Args:
        read: reads rows from the file.
        correct: gives rows the times that are right, as far as they are known by now.
        account: gives the publisher's account.
        on_damaged: takes the ids of rows that cannot be read back; they count as confirmed.
        on_close: the session is over.
    """

    def __init__(
        self,
        publisher: PublisherId,
        ledger: Ledger,
        cache: RowCache,
        *,
        read: Callable[[Sequence[Span], Read], Awaitable[Read]],
        correct: Callable[[list[Row]], list[Row]],
        account: Callable[[], Account],
        on_damaged: Callable[[PublisherId, list[int]], None],
        on_close: Callable[["Cursor"], None],
    ) -> None:
        self._publisher = publisher
        self._ledger = ledger
        self._cache = cache
        self._read = read
        self._correct = correct
        self._account = account
        self._on_damaged = on_damaged
        self._on_close = on_close
        self._boundary = ledger.last_id
        self._next = {Stream.LIVE: self._boundary + 1, Stream.REPLAY: 1}
        self._leased = Ranges()
        self._rewinds = 0
        self._owed_before = account().owed
        self._live_counts: dict[int, int] = {}
        self._live_confirmed = 0
        self._news = asyncio.Event()

    async def lease(self, stream: Stream, *, max_rows: int, max_bytes: int) -> list[Row]:
        """Return the next rows that are unleased and unacknowledged, in id order; empty if there are none now.

        One lease of a stream at a time. At least one row is returned, however large its body is. On cancellation
        nothing has been leased.

        Raises:
            OutboxError: the file cannot be read.
        """
        while spans := list(islice(self._owed(stream), _LEASE_SPANS)):
            if stream is Stream.LIVE and (rows := self._cache.head(spans, max_rows, max_bytes)):
                self._take(stream, spans, rows[-1].id)
                return self._handed_out(stream, rows)
            rewinds = self._rewinds
            read = await self._read(spans, Read(max_rows, max_bytes, stream is Stream.REPLAY))
            self._take(stream, spans, read.last_id, is_rewound=self._rewinds != rewinds)
            for span in read.out_of_reach:  # not there any more; what a salvage brings back may be leased
                self.unlease(*span)
            if read.damaged:
                self._on_damaged(self._publisher, read.damaged)
            if read.rows:
                return self._handed_out(stream, read.rows)
        return []

    @property
    def replay_readings(self) -> int:
        """How many readings of the REPLAY stream are not acknowledged, as of the last commit, about."""
        if next(self._ledger.owed(self._publisher, 1, self._boundary), None) is None:
            return 0
        account = self._account()
        live = account.owed - self._owed_before - self._live_confirmed
        return max(0, account.pending - live)

    async def wait(self, streams: Iterable[Stream] = tuple(Stream)) -> None:
        """Return when a lease on one of ``streams`` may give something. Cancellation leaves nothing behind."""
        streams = tuple(streams)
        while all(next(self._owed(stream), None) is None for stream in streams):
            self._news.clear()
            await self._news.wait()

    def confirm(self, row_ids: Iterable[int]) -> None:
        """Take rows as delivered; durable with the next commit, after a crash before it they are leased again.

        Raises:
            ValueError: there is no such row.
        """
        row_ids = list(row_ids)
        self._ledger.confirm(self._publisher, row_ids)
        self._live_confirmed += sum(self._live_counts.pop(row_id, 0) for row_id in row_ids)

    def set_aside(self, row_ids: Iterable[int], reason: str) -> None:
        """Take rows as refused for what they are: the next commit makes them dead letters of this publisher."""
        self._ledger.set_aside(self._publisher, row_ids, reason)

    def close(self) -> None:
        """End the session: what is unconfirmed is leased again by the next one. Silent when called twice."""
        self._on_close(self)

    def rewind(self, first: int, last: int) -> None:
        """Rows from ``first`` to ``last`` may have come back behind what was leased: look there again.

        They are replay now, and so is everything before them; what this session has leased is not leased again.
        """
        self._rewinds += 1
        self._boundary = max(self._boundary, last)
        self._next[Stream.LIVE] = max(self._next[Stream.LIVE], self._boundary + 1)
        self._next[Stream.REPLAY] = min(self._next[Stream.REPLAY], first)
        self.wake()

    def _handed_out(self, stream: Stream, rows: list[Row]) -> list[Row]:
        if stream is Stream.LIVE:
            self._live_counts.update((row.id, row.count) for row in rows)
        return self._correct(rows)

    def unlease(self, first: int, last: int) -> None:
        """Rows that could not be read when they were leased are back: they may be leased again."""
        self._leased.discard(first, last)

    def wake(self) -> None:
        """There are new rows."""
        self._news.set()

    def _owed(self, stream: Stream) -> Iterator[Span]:
        last = self._ledger.last_id if stream is Stream.LIVE else self._boundary
        for a, b in self._ledger.owed(self._publisher, self._next[stream], last):
            yield from self._leased.gaps(a, b)

    def _take(self, stream: Stream, spans: Sequence[Span], last_id: int, *, is_rewound: bool = False) -> None:
        """What ``spans`` name up to ``last_id`` is leased, and need not be looked at again."""
        for first, last in spans:
            if first <= last_id:
                self._leased.add(first, min(last, last_id))
        if not is_rewound:
            self._next[stream] = last_id + 1
