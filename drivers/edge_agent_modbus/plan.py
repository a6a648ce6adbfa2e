"""Groups points into requests. Pure and printable: what stands here goes over the wire."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from edge_agent_modbus.decode import Decoder, Source, compile_decoder
from edge_agent_modbus.pdu import MAX_COILS, MAX_REGISTERS, Table, read_pdu


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a device gives in one reply."""

    registers: int = MAX_REGISTERS
    coils: int = MAX_COILS

    def of(self, table: Table) -> int:
        """Return the limit of a table."""
        return self.coils if table.has_bits else self.registers


@dataclass(frozen=True, slots=True, eq=False)
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
        return (
            f"unit {self.unit} FC{self.table.value} {self.table.word} {self.address}..{last} "
            f"({self.count} {kind}{'s' * (self.count != 1)}): {points} point{'s' * (points != 1)}"
        )

    def split(self) -> "tuple[ReadRequest, ...]":
        """Return requests for the lower and the upper half of the points; empty if all lie in one place."""
        places = sorted({(source.address, source.size) for source in self.sources})
        if len(places) == 1:
            return ()
        lower = set(places[: len(places) // 2])
        halves: tuple[list[Source], list[Source]] = ([], [])
        for source in self.sources:
            halves[(source.address, source.size) not in lower].append(source)
        limits = Limits(self.count, self.count)
        return tuple(request for half in halves for request in _coalesce(self.unit, half, limits))


def plan_reads(
    unit: int, sources: Iterable[Source], refused: AbstractSet[int], limits: Limits
) -> tuple[ReadRequest, ...]:
    """Return the requests that read ``sources``: what touches or overlaps shares one, nothing else is read.

    A point whose index is in ``refused`` has a request of its own. No point is larger than ``limits``.
    """
    tables: dict[Table, list[Source]] = {}
    alone: list[ReadRequest] = []
    for source in sorted(sources, key=lambda s: (s.table, s.address, s.size, s.index)):
        if source.index in refused:
            alone.append(_request(unit, [source]))
        else:
            tables.setdefault(source.table, []).append(source)
    shared = [request for group in tables.values() for request in _coalesce(unit, group, limits)]
    return tuple(sorted(shared + alone, key=lambda r: (r.table, r.address, r.count, r.points)))


def _coalesce(unit: int, sources: Sequence[Source], limits: Limits) -> list[ReadRequest]:
    """Join neighbours in ``sources`` (one table, sorted by address)."""
    groups: list[list[Source]] = []
    start = end = -1
    for source in sources:
        if groups and source.address <= end and max(end, source.end) - start <= limits.of(source.table):
            groups[-1].append(source)
            end = max(end, source.end)
        else:
            groups.append([source])
            start, end = source.address, source.end
    return [_request(unit, group) for group in groups]


def _request(unit: int, sources: Sequence[Source]) -> ReadRequest:
    address = sources[0].address
    return ReadRequest(
        unit, sources[0].table, address, max(source.end for source in sources) - address, tuple(sources)
    )
