"""What is common to the values that are known: one placing and one byte order that explain all of them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent_modbus.probe.known import Known
from edge_agent_modbus.probe.match import Fit, Placing
from edge_agent_modbus.source import ByteOrder, ValueType

_ORDER_WORDS = {
    ByteOrder.ABCD: "as the standard has it",
    ByteOrder.CDAB: "registers in reverse order",
    ByteOrder.BADC: "bytes of each register swapped",
    ByteOrder.DCBA: "registers reversed and bytes swapped",
}


_LIKELY_DOUBT = 10.0  # of one value, on the average


@dataclass(frozen=True, slots=True)
class Layout:
    """A placing and an order, and the best fit of each known value under them; None: it has none."""

    placing: Placing
    order: ByteOrder
    fits: tuple[Fit | None, ...]

    @property
    def explained(self) -> int:
        """How many of the known values fit."""
        return sum(fit is not None for fit in self.fits)

    @property
    def doubt(self) -> float:
        """Less is more likely, among those that explain the same number."""
        return sum(fit.doubt for fit in self.fits if fit is not None)

    @property
    def is_likely(self) -> bool:
        """Whether it is more than chance: of so many ways, some unusual one fits almost any registers."""
        return self.doubt <= _LIKELY_DOUBT * self.explained

    @property
    def shows_order(self) -> bool:
        """Whether any of the values would be read otherwise in another order."""
        return any(fit is not None and len(fit.orders) < len(ByteOrder) for fit in self.fits)

    def __str__(self) -> str:
        order = f"byte order {self.order.value} ({_ORDER_WORDS[self.order]}), " if self.shows_order else ""
        placing = "addresses as written" if self.placing is Placing.AS_WRITTEN else _placing(self.placing)
        return f"{order}{placing}"


def layouts(fits: Sequence[Sequence[Fit]]) -> tuple[Layout, ...]:
    """Return every layout that explains something, the one that explains most, and most likely, first.

    Args:
        fits: of each known value, the most likely first.
    """
    found = []
    for placing in Placing:
        for order in ByteOrder:
            best = tuple(
                next((fit for fit in ways if fit.placing is placing and order in fit.orders), None)
                for ways in fits
            )
            if any(best):
                found.append(Layout(placing, order, best))
    found.sort(key=lambda layout: (-layout.explained, layout.doubt, list(ByteOrder).index(layout.order)))
    unique: dict[tuple[Fit | None, ...], Layout] = {}
    for layout in found:
        unique.setdefault(layout.fits, layout)
    return tuple(unique.values())


def point(known: Known, fit: Fit) -> dict[str, object]:
    """Return the point of a configuration that reads ``known`` in the way of ``fit``."""
    source = fit.source
    kind = source.value_type
    keys: dict[str, object] = {"name": f"{source.table.word}_{source.address}"}
    if known.is_register:
        digit = {1: "0", 2: "1", 3: "4", 4: "3"}[source.table]
        number = f"{digit}{source.address + 1:05}" if source.address >= 9999 else f"{digit}{source.address + 1:04}"  # noqa: PLR2004 - four digits end
        keys["register"] = number if digit == "0" else int(number)
    else:
        keys[source.table.word] = source.address
    if source.table.has_bits:
        return keys
    if kind is ValueType.BOOL:
        return keys | {"bit": source.bit}
    keys["type"] = kind.word
    if kind is ValueType.STRING:
        keys["length"] = source.length_bytes
        keys |= {"encoding": source.encoding.value} if source.encoding.value != "utf-8" else {}
    if source.high_byte:
        keys["byte"] = "high"
    if source.byte_order is not ByteOrder.ABCD:
        keys["byte_order"] = source.byte_order.value
    if source.scale != 1:
        keys["scale"] = source.scale
    return keys


def _placing(placing: Placing) -> str:
    return placing.word if placing.difference is None else f"addresses {placing.word} than written"
