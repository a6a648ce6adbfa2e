"""Checks of the repository itself; ``--write`` renews what is generated. For ``make check`` and ``make docs``."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.cli.reference import markdown as cli_reference
from edge_agent.config.json_schema import text as config_schema
from edge_agent.config.reference import markdown as config_reference
from edge_agent.ops.reference import markdown as metrics_reference

ROOT = Path(__file__).parent.parent
LONGEST_FILE_LINES = 500


def generated() -> dict[str, Callable[[], str]]:
    """Return path → what it must hold."""
    return {
        "docs/reference/cli.md": cli_reference,
        "docs/reference/config.md": config_reference,
        "docs/reference/metrics.md": metrics_reference,
        "configs/schema.json": config_schema,
    }


def files(*patterns: str) -> Iterator[Path]:
    """Yield the files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    yield from (ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file())


def too_long() -> Iterator[str]:
    for path in files("*.py", "*.c", "*.js", "*.sh"):
        count = path.read_text().count("\n")
        if count > LONGEST_FILE_LINES:
            yield f"{path.relative_to(ROOT)}: {count} lines, at most {LONGEST_FILE_LINES}: split it"


def outdated() -> Iterator[str]:
    for name, content in generated().items():
        path = ROOT / name
        if not path.is_file() or path.read_text() != content():
            yield f"{name}: not up to date, run `make docs`"


def readmes_out_of_step() -> Iterator[str]:
    """The Chinese README has the same sections and shows the same commands as the English one."""
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
    for what, pattern in (("headings", r"^#+ "), ("code blocks", r"^```"), ("table rows", r"^\|")):
        counts = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, chinese)]
        if counts[0] != counts[1]:
            yield f"README.zh-CN.md: {counts[1]} {what}, README.md has {counts[0]}"


def unproven() -> Iterator[str]:
    """Each promise, and each mitigation of a threat, names tests, and they are there."""
    for page, head in (("docs/promise.md", ""), ("docs/threat-model.md", "Threat")):
        is_in_table = not head
        for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            is_in_table = is_in_table or cells[0] == head
            named = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(\w+)`", line)
            if line.startswith("| ") and is_in_table and cells[0] not in {"Promise", head} and not named:
                yield f"{page}:{number}: names no test: {cells[0]}"
            for path, name in named:
                file = ROOT / path
                if not file.is_file() or not re.search(
                    rf"^(async )?def {name}\(|^{name} = |^class {name}\b", file.read_text(), re.MULTILINE
                ):
                    yield f"{page}:{number}: there is no {path}::{name}"


def unexplained() -> Iterator[str]:
    """Where a rule about security is set aside in the product, it says why."""
    for path in files("edge_agent/**.py", "drivers/**.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"noqa:[^#]*\bS\d{3}\b(?!.* - \w)", line):
                yield f"{path.relative_to(ROOT)}:{number}: say why: `# noqa: S… - because`"


def main() -> int:
    if "--write" in sys.argv:
        for name, content in generated().items():
            (ROOT / name).write_text(content())
        return 0
    problems = [*too_long(), *outdated(), *readmes_out_of_step(), *unproven(), *unexplained()]
    print("\n".join(problems) or "repository: nothing to complain about")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
