"""Points that are a part of their variable's value, or its text: element, field, name of a number. Pure."""

from collections.abc import Mapping, Sequence

from edge_agent.model import DataType, Quality
from edge_agent_opcua.binary import MalformedError, Value
from edge_agent_opcua.convert import Converter, Reading, convert
from edge_agent_opcua.structure import Definitions, NothingThereError, Step, follow, whole

WHOLE = "*"  # the field that is all of them
_WHOLE_NUMBERS = range(1, 10)  # Boolean to UInt64


def parse_path(element: int | None, field: str) -> tuple[Step, ...]:
    """Return the way to ``Position.X`` or ``Axes.2.Name``, in the element if there is one.

    Raises:
        ValueError: it is not a way.
    """
    first: tuple[Step, ...] = () if element is None else (element,)
    if field in ("", WHOLE):
        return first
    parts = field.split(".")
    if not all(parts):
        raise ValueError(f"{field!r} is no field; write names with dots between them: Position.X, Axes.0.Name")
    return *first, *(int(part) if part.isascii() and part.isdigit() else part for part in parts)


def picker(
    path: Sequence[Step], definitions: Definitions, texts: Mapping[int, str] | None, *, is_field: bool
) -> Converter:
    """Return what makes readings of one point's values.

    Args:
        path: made by ``parse_path``.
        definitions: of the structures that the server may send.
        texts: of numbers; None: a number stays one.
        is_field: ``path`` leads into a structure, or to all of it.
    """

    def pick(value: Value | None, status: int) -> Reading:
        if value is None or value.content is None or not (path or is_field):
            return _named(value, status, texts)
        try:
            part = follow(value, path, definitions)
            if is_field:
                part = whole(part, definitions)
        except NothingThereError as exc:
            return DataType.NULL, None, exc.status
        except MalformedError:
            return DataType.NULL, None, Quality.BAD_DECODING_ERROR
        return _named(part, status, texts)

    return pick


def _named(value: Value | None, status: int, texts: Mapping[int, str] | None) -> Reading:
    if texts is None or value is None or value.is_array or value.kind not in _WHOLE_NUMBERS:
        return convert(value, status)
    text = texts.get(value.content)
    if text is None:
        return DataType.STRING, str(int(value.content)), status or Quality.UNCERTAIN
    return DataType.STRING, text, status
