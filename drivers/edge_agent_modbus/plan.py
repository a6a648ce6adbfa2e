"""Groups points into requests. Pure and printable: what stands here goes over the wire.

Two neighbours share a request if reading what lies between them costs less time than another request. The cheapest
of all partitions is found, not a good one: the best end of a request depends on nothing before its begin, so one
pass from the last point to the first decides (dynamic programming, see ``_partition``).
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple

from edge_agent_modbus.cost import LineSpeed
from edge_agent_modbus.decode import Decoder, Source, compile_decoder
from edge_agent_modbus.pdu import MAX_COILS, MAX_REGISTERS, Table, read_pdu


class Gap(NamedTuple):
    """Addresses that no point asks for, between some that do."""

    table: Table
    address: int
    end: int  # the address behind it


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device allows.

    Attributes:
        registers, coils: the most in one reply.
        gaps: whether addresses that no point asks for may be read with those round them.
    """

    registers: int = MAX_REGISTERS
    coils: int = MAX_COILS
    gaps: bool = False

    def of(self, table: Table) -> int:
        """Return the limit of a table."""
        return self.coils if table.has_bits else self.registers


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class ReadRequest:
    """One exchange: a block of one table and what is made of it.

    Attributes:
        sources: sorted by address.
        pdu: what is sent.
        decode: makes columns of the payload of the reply.
    """

    unit: int
    table: Table
    address: int
    count: int
    sources: tuple[Source, ...]
    points: tuple[int, ...] = field(init=False)
    pdu: bytes = field(init=False)
    decode: Decoder = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(source.index for source in self.sources))
        object.__setattr__(self, "pdu", read_pdu(self.table, self.address, self.count))
        object.__setattr__(self, "decode", compile_decoder(self.sources, self.address, self.count))

    def __str__(self) -> str:
        last, points = self.address + self.count - 1, len(self.points)
        kind = "coil" if self.table.has_bits else "register"
        unused = sum(gap.end - gap.address for gap in self.gaps)
        return (
            f"unit {self.unit} FC{self.table.value} {self.table.word} {self.address}..{last} "
            f"({self.count} {kind}{'s' * (self.count != 1)}{f', {unused} of them in gaps' if unused else ''}): "
            f"{points} point{'s' * (points != 1)}"
        )

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What it reads and nobody asks for."""
        spans = [span for span, _ in _spans(self.sources)]
        return tuple(
            Gap(self.table, one.end, other.address) for one, other in pairwise(spans) if one.end < other.address
        )

    def split(self, at: int | None = None) -> "tuple[ReadRequest, ...]":
        """Return requests for the lower and the upper half of the points; empty if all lie in one place.

        ``at`` is the address of the first point of the upper half, None = one in the middle.

        The halves of a request that reads gaps are one request each. If both are answered where the whole was
        refused, the device refuses the gap between them (``gap_between``), or to give so much in one reply.
        """
        places = sorted({(source.address, source.size) for source in self.sources})
        if len(places) == 1:
            return ()
        middle = len(places) // 2 if at is None else bisect_left(places, (at, 0))
        lower = set(places[:middle])
        halves: tuple[list[Source], list[Source]] = ([], [])
        for source in self.sources:
            halves[(source.address, source.size) not in lower].append(source)
        limits = Limits(self.count, self.count, gaps=bool(self.gaps))
        return tuple(
            _request(self.unit, members)
            for half in halves
            for members in _group(self.table, half, limits, LineSpeed(), _Walls(()))
        )


def gap_between(lower: ReadRequest, upper: ReadRequest) -> Gap | None:
    """Return what lies between two requests of one table; None if they touch or overlap."""
    end = lower.address + lower.count
    return Gap(lower.table, end, upper.address) if end < upper.address else None


def plan_reads(
    unit: int,
    sources: Iterable[Source],
    refused: AbstractSet[int],
    limits: Limits,
    *,
    speed: LineSpeed = LineSpeed(),  # noqa: B008 - frozen
    barred: Collection[Gap] = (),
) -> tuple[ReadRequest, ...]:
    """Return the requests that read ``sources`` in the least time.

    A point whose index is in ``refused`` has a request of its own. Gaps that hold one of its addresses, or one of
    ``barred``, are not read. No value is read in pieces; no point is larger than ``limits``.
    """
    tables: dict[Table, list[Source]] = defaultdict(list)
    alone: list[ReadRequest] = []
    walls = list(barred)
    for source in sources:
        if source.index in refused:
            alone.append(_request(unit, [source]))
            walls.append(Gap(source.table, source.address, source.end))
        else:
            tables[source.table].append(source)
    shared = [
        _request(unit, members)
        for table, group in tables.items()
        for members in _group(table, group, limits, speed, _Walls(wall for wall in walls if wall.table is table))
    ]
    return tuple(sorted(shared + alone, key=lambda r: (r.table, r.address, r.count, r.points)))


def _request(unit: int, sources: Sequence[Source]) -> ReadRequest:
    """Return the request for ``sources``, which are sorted."""
    address = sources[0].address
    return ReadRequest(
        unit, sources[0].table, address, max(source.end for source in sources) - address, tuple(sources)
    )


def _by_place(source: Source) -> tuple[int, int, int]:
    return source.address, -source.size, source.index


class _Span(NamedTuple):
    address: int
    end: int


def _spans(sources: Iterable[Source]) -> list[tuple[_Span, list[Source]]]:
    """Return the places of ``sources``, ascending, none within another one, with what lies in each."""
    spans: list[tuple[_Span, list[Source]]] = []
    for source in sorted(sources, key=_by_place):
        if spans and source.end <= spans[-1][0].end:
            spans[-1][1].append(source)
        else:
            spans.append((_Span(source.address, source.end), [source]))
    return spans


def _group(
    table: Table, sources: Sequence[Source], limits: Limits, speed: LineSpeed, walls: "_Walls"
) -> Iterator[list[Source]]:
    """Yield the points of each request of one table."""
    runs: list[list[tuple[_Span, list[Source]]]] = []
    end = -1
    for span, members in _spans(sources):
        if span.address > end and (end < 0 or not limits.gaps or walls.stand_in(end, span.address)):
            runs.append([])
        runs[-1].append((span, members))
        end = span.end
    for run in runs:
        begin = 0
        for stop in _partition([span for span, _ in run], limits.of(table), 1 if table.has_bits else 16, speed):
            yield [source for _, members in run[begin:stop] for source in members]
            begin = stop


class _Walls:
    """Addresses of one table that no gap may hold."""

    def __init__(self, walls: Iterable[Gap]) -> None:
        ascending = sorted(walls)
        self._begins = [wall.address for wall in ascending]
        self._ends = list(accumulate((wall.end for wall in ascending), max))  # the highest so far

    def stand_in(self, address: int, end: int) -> bool:
        """Return whether one of them is from ``address`` on and before ``end``."""
        before_end = bisect_left(self._begins, end)
        return before_end > 0 and self._ends[before_end - 1] > address


def _partition(spans: Sequence[_Span], most: int, bits: int, speed: LineSpeed) -> list[int]:
    """Return where each request stops, as the number of the span behind it; together they take the least time.

    ``least[i]`` is the least time for the spans from ``i`` on: of one request for ``i`` to ``j``, and of the rest.
    Its data are ``ceil((bits·end_j - bits·begin_i) / 8)`` bytes, so the part that depends on ``j`` is the same for
    all ``i`` but for the position of ``end_j`` in its byte. Each of these 8 (one, for registers) has a queue of
    those ``j`` within reach that can still be the best, cheapest first: a sliding minimum, O(spans).
    Of equally good ends the farthest is taken.
    """
    request_ns, byte_ns = speed.request_ns, speed.data_byte_ns
    least, stops = [0] * (len(spans) + 1), [0] * len(spans)
    queues: dict[int, deque[tuple[int, int]]] = defaultdict(deque)  # (time, j) by the position in the byte
    for i in range(len(spans) - 1, -1, -1):
        begin, end = spans[i]
        full_bytes, position = divmod(end * bits, 8)
        queue = queues[position]
        time_ns = least[i + 1] + full_bytes * byte_ns
        while queue and queue[-1][0] > time_ns:
            queue.pop()
        queue.append((time_ns, i))
        best: list[tuple[int, int]] = []
        for position, queue in queues.items():
            while queue and spans[queue[0][1]].end - begin > most:
                queue.popleft()
            if queue:
                time_ns, j = queue[0]
                best.append((time_ns - (begin * bits - position) // 8 * byte_ns, -j))
        time_ns, negative_j = min(best)
        least[i], stops[i] = time_ns + request_ns, 1 - negative_j
    requests = [0]
    while requests[-1] < len(spans):
        requests.append(stops[requests[-1]])
    return requests[1:]
