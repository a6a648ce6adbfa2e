"""Commands whose output goes nowhere: closed, full, or no longer read."""

import subprocess

import pytest

from tests.servers.agent import EDGE_AGENT


def shell(line: str) -> subprocess.CompletedProcess[str]:
    words = ["sh", "-c", line, str(EDGE_AGENT)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("closed", [">&-", "<&- >&-"])
def test_a_closed_output_costs_what_would_be_shown_and_nothing_else(closed: str) -> None:
    ended = shell(f'exec "$0" drivers {closed}')
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("command", ["drivers", "version", "schema"])
def test_a_full_disk_behind_the_output_is_told_in_one_line(command: str) -> None:
    ended = shell(f'exec "$0" {command} > /dev/full')
    assert ended.returncode == 1
    assert ended.stderr == "edge-agent: cannot write standard output: No space left on device\n"
