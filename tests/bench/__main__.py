"""``make bench``: runs the scenarios, prints the table with the machine's load, renews docs/benchmarks.md.

python -m tests.bench [--seconds N] [--profile] [SCENARIO ...]
"""

import argparse
import datetime as dt
import os
import platform
import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.bench import config_load, load, modbus, opcua, outbox, profile, scrape

PAGE = Path(__file__).parent.parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- begin: make bench -->", "<!-- end: make bench -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("scenarios", nargs="*", help="all if none is named")
    parser.add_argument("--seconds", type=float, default=30.0, help="measured time of each scenario")
    parser.add_argument(
        "--profile", action="store_true", help="print where the agent's CPU goes (sampled; costs some of it)"
    )
    arguments = parser.parse_args()
    known = [*(one.name for one in (*modbus.SCENARIOS, *opcua.SCENARIOS)), "outbox", "scrape", "config-load"]
    chosen = arguments.scenarios or known
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    load = os.getloadavg()[0]
    tables: dict[str, list[list[str]]] = {}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("scenarios", total=len(chosen))
        for name in chosen:
            rows: list[list[str]] | None = [] if arguments.profile else None
            header, row = _run(name, arguments.seconds, rows)
            tables.setdefault(" ".join(header), [header]).append(row)
            if rows:
                tables[f"profile {name}"] = [[*profile.HEADER[:-1], f"{profile.HEADER[-1]} ({name})"], *rows]
            progress.advance(task)
    machine = (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, uvloop {version('uvloop')}, "
        f"load before {load:.1f}, {arguments.seconds:g} s each"
    )
    for header, *rows in tables.values():
        table = Table(*header, title=machine)
        for row in rows:
            table.add_row(*row)
        Console(width=None if sys.stdout.isatty() else 180).print(table)
    if not arguments.scenarios and not arguments.profile:
        _keep(machine, tables.values())
    return 0


def _run(name: str, seconds: float, rows: list[list[str]] | None) -> tuple[list[str], list[str]]:
    if name == "outbox":
        return outbox.HEADER, outbox.run()
    if name == "scrape":
        return scrape.HEADER, scrape.run()
    if name == "config-load":
        return config_load.HEADER, config_load.run()
    for known in opcua.SCENARIOS:
        if known.name == name:
            return load.HEADER, opcua.run(known, seconds, rows).row()
    scenario = next(one for one in modbus.SCENARIOS if one.name == name)
    return load.HEADER, modbus.run(scenario, seconds, rows).row()


def _keep(machine: str, tables: Iterable[list[list[str]]]) -> None:
    lines = [BEGIN, machine]
    for header, *rows in tables:
        cells = [header, ["---"] * len(header), *rows]
        lines += ["", *("| " + " | ".join(row) + " |" for row in cells)]
    block = "\n".join([*lines, END])
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: block, PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(main())
