"""Where the agent's CPU goes: py-spy looks at it from outside 200 times a second while a scenario is measured."""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEADER = ["share", "function", "module"]
ROWS = 15
_RATE_PER_S = 200
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^:()]+)(:\d+)?\)")


@contextmanager
def sampled(pid: int, seconds: float) -> Iterator[list[list[str]]]:
    """Sample ``pid`` for ``seconds``; on leaving, the list holds the functions that took most, themselves."""
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid), "--format", "raw"]
        command += ["--nolineno", "--rate", str(_RATE_PER_S), "--duration", f"{max(1, round(seconds))}"]
        with subprocess.Popen([*command, "--output", str(raw)], stdout=subprocess.DEVNULL) as sampler:
            yield rows
            if sampler.wait(60):
                raise RuntimeError(
                    "py-spy failed; it needs the right to trace the agent (root, or ptrace_scope 0)"
                )
        rows += _heaviest(raw.read_text())


def _heaviest(stacks: str) -> list[list[str]]:
    samples: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        samples[stack.rpartition(";")[2]] += int(count)
    total = sum(samples.values())
    return [[f"{100 * count / total:.1f} %", *_named(frame)] for frame, count in samples.most_common(ROWS)]


def _named(frame: str) -> tuple[str, str]:
    found = _FRAME.fullmatch(frame)
    return (found["function"], found["file"]) if found else (frame, "")
