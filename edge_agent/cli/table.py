"""Tables: drawn on a terminal, tab-separated into a pipe."""

import sys
from collections.abc import Iterable, Sequence

import typer


def show(header: Sequence[str], rows: Iterable[Sequence[object]], *, is_last_optional: bool = False) -> None:
    """Print a table; a cell that is None is empty.

    Args:
        header: of each column.
        rows: as many cells each.
        is_last_optional: on a terminal the last column is left out if it is empty.
    """
    if not sys.stdout.isatty():
        show_lines((header, *rows))
        return
    texts = list(map(_texts, rows))
    if is_last_optional and not any(row[-1] for row in texts):
        header, texts = header[:-1], [row[:-1] for row in texts]
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - only a person at a terminal waits for it
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in header:
        widest = max(map(len, name.split()), default=1)  # a heading breaks between words
        table.add_column(name, overflow="fold", min_width=widest)  # a code or address that is cut short is none
    for row in texts:
        table.add_row(*(Text(_visible(cell)) for cell in row))
    Console().print(table)


def show_lines(rows: Iterable[Sequence[object]]) -> None:
    """Print rows for a pipe: cells separated by tabs."""
    for row in rows:
        typer.echo("\t".join(" ".join(cell.split()) for cell in _texts(row)))


def notes(texts: Iterable[tuple[str, str | None]]) -> None:
    """Print what is too long for a cell of the table above, a line for each row that has it: ``press-01: …``."""
    for name, text in texts:
        if text:
            _echo_wrapped(f"{_visible(name)}: {_visible(' '.join(text.split()))}")


def note(text: str, *, is_error: bool = False) -> None:
    """Print a sentence, broken between words on a terminal; ``is_error``: on standard error."""
    line = _visible(" ".join(text.split()))
    if is_error:
        typer.echo(line, err=True)
    else:
        _echo_wrapped(line)


def _texts(row: Sequence[object]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in row]


def _echo_wrapped(line: str) -> None:
    if not sys.stdout.isatty():
        typer.echo(line)
        return
    from rich.console import Console  # noqa: PLC0415 - only a person at a terminal waits for it
    from rich.text import Text  # noqa: PLC0415 - as above

    Console().print(Text(line))  # breaks it between words


def _visible(cell: str) -> str:
    # A name that a device or broker gave must not steer the terminal.
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in cell)
