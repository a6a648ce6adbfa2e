"""Which gaps between points a device refuses, as it is learned and kept. Pure."""

from collections.abc import Iterable, MutableMapping, Sequence

from edge_agent_modbus.pdu import Table
from edge_agent_modbus.plan import Gap, ReadRequest, gap_between

KEY = "refused_gaps"
MAX_GAPS = 1000
"""Of a device; what is beyond is searched for again in each session."""
_BOTH = 2


def refused_gaps(state: MutableMapping[str, str]) -> tuple[Gap, ...]:
    """Return what was learned, from a text such as ``holding 12-19, input 40-49``."""
    gaps: list[Gap] = []
    for word in state.get(KEY, "").split(", "):
        table, _, addresses = word.partition(" ")
        first, _, last = addresses.partition("-")
        if table.upper() in Table.__members__ and first.isdecimal() and last.isdecimal():
            gaps.append(Gap(Table[table.upper()], int(first), int(last) + 1))
    return tuple(gaps)


def learn_gaps(
    state: MutableMapping[str, str], splits: Iterable[Sequence[ReadRequest]], answered: Iterable[ReadRequest]
) -> None:
    """Keep the gaps between the halves of refused requests that were both answered: nothing else was in the whole.

    Args:
        state: where it is kept.
        splits: for each request that was refused, its halves.
        answered: the requests that were answered with data.
    """
    taken = set(answered)
    gaps_between = (gap_between(*halves) for halves in splits if len(halves) == _BOTH and taken.issuperset(halves))
    new = {gap for gap in gaps_between if gap is not None}
    known = refused_gaps(state)
    if new.difference(known):
        gaps = sorted(new.union(known))[:MAX_GAPS]
        state[KEY] = ", ".join(f"{gap.table.word} {gap.address}-{gap.end - 1}" for gap in gaps)
