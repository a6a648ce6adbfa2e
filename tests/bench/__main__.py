"""``make bench``: runs the scenarios, prints the table with the machine's load, renews docs/benchmarks.md.

python -m tests.bench [--seconds N] [SCENARIO ...]
"""

import argparse
import datetime as dt
import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.bench import modbus

PAGE = Path(__file__).parent.parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- begin: make bench -->", "<!-- end: make bench -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("scenarios", nargs="*", help="all if none is named")
    parser.add_argument("--seconds", type=float, default=30.0, help="measured time of each scenario")
    arguments = parser.parse_args()
    chosen = [one for one in modbus.SCENARIOS if not arguments.scenarios or one.name in arguments.scenarios]
    unknown = set(arguments.scenarios) - {one.name for one in modbus.SCENARIOS}
    if unknown:
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(s.name for s in modbus.SCENARIOS)}"
        )
    load = os.getloadavg()[0]
    rows = []
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("scenarios", total=len(chosen))
        for scenario in chosen:
            rows.append(modbus.run(scenario, arguments.seconds).row())
            progress.advance(task)
    machine = (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, uvloop {version('uvloop')}, "
        f"load before {load:.1f}, {arguments.seconds:g} s each"
    )
    table = Table(*modbus.HEADER, title=machine)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 180).print(table)
    if not arguments.scenarios:
        _keep(machine, rows)
    return 0


def _keep(machine: str, rows: list[list[str]]) -> None:
    cells = [modbus.HEADER, ["---"] * len(modbus.HEADER), *rows]
    block = "\n".join([BEGIN, machine, "", *("| " + " | ".join(row) + " |" for row in cells), END])
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: block, PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(main())
