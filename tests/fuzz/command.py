"""A fuzzer as a command: ``python -m tests.fuzz.MODULE COUNT [SEED]`` prints what became of what it makes."""

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol, TypeVar


class Counting(Protocol):
    """Counts what became of what it made."""

    outcomes: Counter[str]


F = TypeVar("F", bound=Counting)


def command(make: Callable[[random.Random], F], run: Callable[[F, int], object], told: Callable[[F], str]) -> None:
    """Run and print.

    Args:
        make: takes the source of chance.
        run: takes the fuzzer and how many are wanted.
        told: says of how many what it was.
    """
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    fuzzer = make(random.Random(seed))
    begin_s = time.process_time()
    run(fuzzer, count)
    spent_s = time.process_time() - begin_s
    outcomes = ", ".join(f"{number:,} {name}" for name, number in fuzzer.outcomes.most_common())
    print(f"{told(fuzzer)}, seed {seed}, {spent_s:.0f} s: {outcomes}")
