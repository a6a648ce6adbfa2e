"""kill -9 of the process that writes: what was flushed is there, nothing is invented, identities hold."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.outbox_kit import CLOUD, PLANT, drain, numbers, opened

ROUNDS = 8
ROOT = Path(__file__).parents[2]


def write_until_killed(directory: Path, first: int, lines: int) -> list[tuple[str, int]]:
    """Return everything that the writer said before it was killed."""
    command = [sys.executable, str(ROOT / "tests/fault/outbox_writer.py"), str(directory), str(first)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        said = [next(writer.stdout) for _ in range(lines)]
        writer.kill()
        said += writer.stdout.readlines()
    assert writer.returncode == -9
    return [(word, int(number)) for word, number in (line.split() for line in said if line.endswith("\n"))]


@pytest.mark.slow
async def test_a_writer_killed_again_and_again_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    dice = random.Random(20261123)
    appended, flushed, sent = 0, list[int](), set[int]()
    for _ in range(ROUNDS):
        lines = dice.randrange(20, 300)
        for word, number in write_until_killed(tmp_path, appended, lines):
            if word == "appended":
                appended = number
            elif word == "flushed":
                flushed += range(number - 2, number + 1)
            else:
                sent.add(number)
    async with opened(tmp_path, CLOUD, PLANT) as outbox:
        plant = await drain(outbox.begin(PLANT))
        cloud = await drain(outbox.begin(CLOUD))
    assert set(flushed) <= set(numbers(plant)) <= set(range(1, appended + 1))
    assert set(flushed) <= set(numbers(cloud)) | sent
    for device in {row.table.device for row in plant}:
        in_order = numbers([row for row in plant if row.table.device == device])
        assert in_order == sorted(set(in_order)), "acquisition order of each device, each reading once"
    assert len({(row.epoch, row.id) for row in plant}) == len(plant)


@pytest.mark.slow
def test_another_process_is_told_who_has_the_directory(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tests/fault/outbox_writer.py"), str(tmp_path), "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        next(holder.stdout)
        second = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        holder.kill()
        holder.stdout.read()
    assert f"in use by process {holder.pid}" in second.stderr
