"""What the demo ends with: the comparison of what is on disk with what a subscriber has."""

import json

import pytest

from edge_agent.demo.run import Result
from edge_agent.demo.snapshot import Figures


def result(committed: int, received: int) -> Result:
    figures = Figures(committed + 7, committed, committed, committed, received, duplicated=2)
    return Result(figures, devices=3, codes=8)


@pytest.mark.parametrize(
    ("committed", "received", "lost", "exit_code"),
    [(100, 100, 0, 0), (100, 99, 1, 1), (0, 0, 0, 1), (100, 101, -1, 1)],
    ids=["all arrived", "one is missing", "there was nothing", "one was invented"],
)
def test_the_exit_code_is_0_only_if_what_is_on_disk_arrived(
    committed: int, received: int, lost: int, exit_code: int
) -> None:
    assert result(committed, received).lost == lost
    assert result(committed, received).exit_code == exit_code


def test_the_acknowledgement_of_the_broker_does_not_count_as_arrival() -> None:
    assert result(100, 90).figures.acknowledged == 100
    assert result(100, 90).lost == 10


def test_json_is_one_line_with_every_figure() -> None:
    text = result(100, 99).to_json()
    assert "\n" not in text
    assert json.loads(text) == {
        "collected": 107, "committed": 100, "published": 100, "acknowledged": 100, "received": 99,
        "duplicated": 2, "lost": 1, "devices": 3, "codes": 8,
    }  # fmt: skip
