"""What a variable looks like as a point."""

from dataclasses import dataclass
from typing import Any

from asyncua import ua

from edge_agent.browsing import FoundPoint
from edge_agent_opcua.units import unit_text

ATTRIBUTES = (
    ua.AttributeIds.DataType,
    ua.AttributeIds.ValueRank,
    ua.AttributeIds.UserAccessLevel,
    ua.AttributeIds.Value,
)
MAX_VALUE_LENGTH = 60
_CURRENT_READ = 1  # OPC 10000-3 §8.57
_STRUCTURES = frozenset(
    {
        ua.VariantType.ExtensionObject,
        ua.VariantType.Variant,
        ua.VariantType.DataValue,
        ua.VariantType.DiagnosticInfo,
    }
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as its server tells of it: the results of reading ``ATTRIBUTES``."""

    type: Any
    rank: Any
    access: Any
    value: Any

    @property
    def type_id(self) -> Any:
        """The id of its data type; None if the server does not tell."""
        found = _plain(self.type)
        return found if isinstance(found, ua.NodeId) else None

    @property
    def hindrance(self) -> str:
        """Why it cannot be a point."""
        access = _plain(self.access)
        variant = self.value.Value
        if isinstance(access, int) and not access & _CURRENT_READ:
            return "it may not be read"
        if variant is not None and variant.VariantType in _STRUCTURES:
            return "it is a structure"
        return ""


def describe(
    variable: Variable, address: str, name: str, path: tuple[str, ...], label: str, type_name: str, units: Any
) -> FoundPoint:
    """Return the point that ``variable`` can be.

    Args:
        variable: what the server says of it.
        address: of its node, as it is written in YAML.
        name: proposed.
        path: browse names from the start on.
        label: its display name; empty if there is none.
        type_name: browse name of its data type.
        units: the value of its EngineeringUnits; None if it has none.
    """
    keys: dict[str, object] = {"node": address}
    unit = _unit(units)
    if unit:
        keys["unit"] = unit
    if label and label != path[-1]:
        keys["description"] = label
    rank = _plain(variable.rank)
    brackets = "[]" * max(1, rank) if isinstance(rank, int) and rank >= 0 else ""
    return FoundPoint(keys, name, "/".join(path), type_name + brackets, _text(variable.value), variable.hindrance)


def _unit(units: Any) -> str:
    found = _plain(units) if units is not None else None
    if not isinstance(found, ua.EUInformation):
        return ""
    return unit_text(found.NamespaceUri or "", found.UnitId, found.DisplayName.Text or "")


def _text(value: Any) -> str:
    if value.StatusCode.is_bad():
        return str(ua.StatusCode(value.StatusCode.value).name)
    found = _plain(value)
    match found:
        case None:
            return ""
        case float():
            text = f"{found:.7g}"
        case bytes():
            text = found.hex(" ")
        case ua.LocalizedText():
            text = found.Text or ""
        case _:
            text = " ".join(str(found).split())
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 1]}…"


def _plain(value: Any) -> Any:
    return value.Value.Value if value.Value is not None else None
