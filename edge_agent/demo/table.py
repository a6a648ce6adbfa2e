"""How the demo looks on a terminal: a table of points that fits the window, and what became of the readings."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from edge_agent.current.state import Value
from edge_agent.demo.snapshot import Figures, PointLine, Snapshot
from edge_agent.model import is_bad, is_good
from edge_agent.model.quality import quality_name

WIDE = 120
_CHROME_LINES = 8  # title, header and rule, "more", rule and three lines of figures
_MINUTE_S = 60.0


def render(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    """Return the whole screen, at most ``height`` lines."""
    notes = snapshot.notes[-1:] if height < 30 else snapshot.notes[-3:]  # noqa: PLR2004  # a small window shows one
    shown = choose(snapshot.lines, max(1, height - _CHROME_LINES - len(notes)))
    return Group(
        _title(snapshot, width),
        _points(shown, is_wide=width >= WIDE),
        Text(f" … and {hidden} more points; a taller window shows them", style="dim")
        if (hidden := len(snapshot.lines) - len(shown))
        else Text(),
        Rule(style="dim"),
        *_footer(snapshot, width),
        *(Text(note, style="dim", no_wrap=True, overflow="ellipsis") for note in notes),
    )


def choose(lines: Sequence[PointLine], room: int) -> list[PointLine]:
    """Return at most ``room`` lines in their order: the first ones of every device."""
    if len(lines) <= room:
        return list(lines)
    ranks: dict[str, int] = {}
    ranked = []
    for position, line in enumerate(lines):
        ranks[line.device] = rank = ranks.get(line.device, -1) + 1
        ranked.append((rank, position))
    return [lines[position] for position in sorted(position for _, position in sorted(ranked)[:room])]


def format_value(value: Value) -> str:
    """Return the value so that right-aligned numbers have their decimal points under each other."""
    match value:
        case None:
            return "–   "
        case bool():
            return "yes   " if value else "no   "
        case float():
            return f"{value:,.2f}"
        case int():
            return f"{value:,}   "
        case bytes():
            return value.hex()
        case _:
            return value or "“”"


def format_age(age_s: float | None) -> str:
    """Return ``0.4 s``, ``12 s``, ``3 min``."""
    if age_s is None:
        return "–"
    if age_s < 10:  # noqa: PLR2004  # one decimal as long as it can be read
        return f"{max(0.0, age_s):.1f} s"
    return f"{age_s:.0f} s" if age_s < _MINUTE_S else f"{age_s / _MINUTE_S:.0f} min"


def format_bytes(size: float) -> str:
    """Return ``160 KiB``, ``1.4 MiB``."""
    return f"{size / 1024:,.0f} KiB" if size < 1024 * 1024 else f"{size / 1024 / 1024:,.1f} MiB"


def plain_line(snapshot: Snapshot) -> str:
    """Return the moment as one line, for an output that is not a terminal."""
    figures = snapshot.figures
    return (
        f"{snapshot.elapsed_s:5.0f} s  collected {figures.collected}  committed {figures.committed}"
        f"  acknowledged {figures.acknowledged}  received {figures.received}  {snapshot.rate:.0f} readings/s"
        f"  outbox {snapshot.pending_rows} rows, {format_bytes(snapshot.outbox_bytes)}"
        f"  broker {'up' if snapshot.is_broker_up else 'down'}"
    )


def _title(snapshot: Snapshot, width: int) -> RenderableType:
    phases = {line.device: line.phase for line in snapshot.lines}
    online = sum(phase.value == "online" for phase in phases.values())
    minutes, seconds = divmod(int(snapshot.elapsed_s), 60)
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    left = Text.assemble((" edge-agent demo ", "bold reverse"), "  simulated plant")
    left.append(
        f", {online} of {len(phases)} devices online", style="green" if online == len(phases) else "yellow"
    )
    if width >= WIDE:
        left.append("  (Modbus TCP and OPC UA on this computer)", style="dim")
    hint = ("   stopping … ", "yellow") if snapshot.is_stopping else ("   Ctrl-C stops ", "dim")
    grid.add_row(left, Text.assemble((f"{minutes:02d}:{seconds:02d}", "bold"), hint))
    return grid


def _points(lines: Sequence[PointLine], *, is_wide: bool) -> RenderableType:
    table = Table(box=None, expand=True, pad_edge=True, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    table.add_column("device", no_wrap=True, width=11 if is_wide else 9)
    table.add_column("point", no_wrap=True, width=24 if is_wide else 17)
    value_width = 24 if is_wide else 14
    table.add_column(_right("value   ", value_width), no_wrap=True, width=value_width)
    table.add_column("unit", no_wrap=True, width=7)
    table.add_column("quality", no_wrap=True, width=20 if is_wide else 7)
    table.add_column("age", justify="right", no_wrap=True, width=6)
    table.add_column("code" if is_wide else "code (suffix)", no_wrap=True, ratio=1)
    before = ""
    for line in lines:
        is_first, before = line.device != before, line.device
        table.add_row(
            Text(line.device, style="bold cyan" if line.phase.value == "online" else "bold red")
            if is_first
            else "",
            line.point,
            Text(_right(format_value(line.value), value_width), style="" if is_good(line.status) else "dim"),
            Text(line.unit, style="dim"),
            _quality(line.status),
            Text(format_age(line.age_s), style="dim"),
            Text(line.code if is_wide else line.code.partition("/")[2], style="magenta"),
        )
    return table


def _right(text: str, width: int) -> str:
    """Pad on the left; rich's own right alignment strips the blanks that stand for decimals."""
    return " " * (width - cell_len(text)) + text


def _quality(status: int) -> Text:
    name = quality_name(status)
    return Text(name, style="green" if is_good(status) else "bold red" if is_bad(status) else "yellow")


def _footer(snapshot: Snapshot, width: int) -> list[RenderableType]:
    figures, addresses = snapshot.figures, snapshot.addresses
    counts = Text(" ", no_wrap=True, overflow="ellipsis")
    steps = {
        "collected": figures.collected,
        "on disk": figures.committed,
        "acknowledged": figures.acknowledged,
        "received": figures.received,
    }
    for name, count in steps.items():
        counts.append(f"{name} ", style="dim").append(f"{count:,}", style="bold").append(
            "  → " * (name != "received")
        )
    if figures.duplicated:
        counts.append(f"  ({figures.duplicated:,} twice)", style="dim")
    flow = Text(" ", no_wrap=True, overflow="ellipsis")
    flow.append(f"{snapshot.rate:,.0f}", style="bold").append(" readings/s   outbox ", style="dim")
    flow.append(f"{snapshot.pending_rows:,} rows pending", style="bold")
    flow.append(f", {format_bytes(snapshot.outbox_bytes)}   broker ", style="dim")
    flow.append(*(("connected", "bold green") if snapshot.is_broker_up else ("not connected", "bold red")))
    if width >= WIDE:
        flow.append(f"  {addresses['broker']}", style="dim")
    pages = Text(" ", style="dim", no_wrap=True, overflow="ellipsis")
    pages.append("look inside: ").append(f"{addresses['pages']}/status", style="underline").append("  ")
    pages.append(f"{addresses['pages']}/metrics", style="underline")
    return [counts, flow, pages]


def summary(figures: Figures, lost: int, devices: int, codes: int) -> RenderableType:
    """Return what the demo ends with."""
    verdict = (
        ("every reading that was on disk arrived", "green")
        if lost == 0 and figures.received
        else ("not every reading that was on disk arrived", "bold red")
    )
    title = Text.assemble((" edge-agent demo ", "bold reverse"), "  ", verdict)
    table = Table(title=title, title_justify="left", show_header=False, box=SIMPLE)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    rows = [
        ("collected", figures.collected, "readings that the devices gave"),
        ("committed", figures.committed, "on disk; the others changed less than their deadband"),
        ("acknowledged", figures.acknowledged, "the broker took them"),
        ("received", figures.received, "by a subscriber that knows nothing of the agent"),
        ("duplicated", figures.duplicated, "came again, with the same identity"),
        ("lost", lost, "on disk, not received"),
        ("devices", devices, "simulated"),
        ("codes", codes, "identifier codes that arrived"),
    ]
    for name, count, meaning in rows:
        style = ("bold green" if count == 0 else "bold red") if name == "lost" else "bold"
        table.add_row(name, Text(f"{count:,}", style=style), meaning)
    return table
