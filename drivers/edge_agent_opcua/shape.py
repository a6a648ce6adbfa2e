"""How values look on the wire that are alike, so that they can be read together, or at once. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from edge_agent.model import DataType
from edge_agent_opcua.binary import FIXED, BuiltIn
from edge_agent_opcua.convert import NUMBERS

RUN = 256  # values that are looked at together, at most
HANDLE_BYTES = 4  # ahead of a value that is reported
_LENGTH = Struct("<i")


@dataclass(frozen=True, slots=True)
class Shape:
    """How values look that came with the same parts (OPC 10000-6 §5.2.2.17) and the same type.

    Attributes:
        form: unpacks the value, the status, the source time and the server time, as far as they are there; of a
            text only what comes behind it.
        time_at: position of the first of the times, counted with the value; 0 without any.
    """

    form: Struct
    kind: int
    data_type: DataType
    is_float: bool
    has_status: bool
    has_server: bool
    time_at: int

    @classmethod
    def of(cls, mask: int, kind: int, prefix: str) -> "Shape":
        has_status, has_source, has_server = bool(mask & 0x02), bool(mask & 0x04), bool(mask & 0x08)
        head = "<" if kind == BuiltIn.STRING else f"<{prefix}xx{FIXED[kind]}"
        form = Struct(f"{head}{'I' * has_status}{'q' * (has_source + has_server)}")
        data_type = NUMBERS.get(kind, DataType.STRING)
        time_at = 1 + has_status if has_source or has_server else 0
        return cls(form, kind, data_type, data_type.is_float, has_status, has_server, time_at)


def _made(kinds: Iterable[int], prefix: str = "") -> dict[bytes, Shape]:
    """Return the shapes by their first two bytes: mask and type."""
    masks = range(0x01, 0x10, 2)  # with a value, without picoseconds
    return {bytes([mask, kind]): Shape.of(mask, kind, prefix) for kind in kinds for mask in masks}


READ, CHANGED = _made(NUMBERS), _made(NUMBERS, "I")
"""Shapes of numbers that were read, and of those that are reported, by their mask and type."""

_TEXTS = _made([BuiltIn.STRING])


def text_at(data: bytes, at: int) -> tuple[Shape, tuple[Any, ...], int] | None:
    """Return shape and parts of the text at ``at``, and where it ends; None if it is none, or not a plain one."""
    shape = _TEXTS.get(data[at : at + 2])
    begin = at + 2 + _LENGTH.size
    if shape is None or begin > len(data):
        return None
    end = begin + _LENGTH.unpack_from(data, at + 2)[0]
    if end < begin or end + shape.form.size > len(data):
        return None
    try:
        text = data[begin:end].decode()
    except UnicodeDecodeError:
        return None
    return shape, (text, *shape.form.unpack_from(data, end)), end + shape.form.size


def run_at(data: bytes, at: int, size: int, head: int, count: int) -> int:
    """Return how many values in a row have the shape of the one at ``at``; 1 or more.

    Args:
        data: the message.
        at: where the first one begins.
        size: bytes of each.
        head: bytes of each ahead of its mask and type.
        count: how many there are at most.
    """
    first = at + head
    if data[first : first + 2] != data[first + size : first + size + 2]:
        return 1
    limit = min(count, RUN, (len(data) - at) // size)
    stop = at + limit * size
    masks, kinds = data[first:stop:size], data[first + 1 : stop : size]
    return max(1, min(_leading(masks), _leading(kinds)))


def _leading(row: bytes) -> int:
    """Return how often the first byte stands at the beginning."""
    return len(row) - len(row.lstrip(row[:1]))
