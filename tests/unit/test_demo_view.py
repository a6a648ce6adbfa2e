"""The log of the demo while the table has the screen."""

import logging
from collections import deque
from collections.abc import Iterator

import pytest

from edge_agent.demo.view import NoteHandler


@pytest.fixture
def notes() -> deque[str]:
    return deque(maxlen=3)


@pytest.fixture
def log(notes: deque[str]) -> Iterator[logging.Logger]:
    logger = logging.Logger("test", logging.DEBUG)  # noqa: LOG001  # on its own, not below the root
    logger.addHandler(NoteHandler(notes))
    yield logger
    logger.handlers.clear()


def test_the_last_lines_are_kept_recoveries_too(log: logging.Logger, notes: deque[str]) -> None:
    log.debug("detail")
    for number in range(4):
        log.warning("lost", extra={"device": f"d{number}"})
    log.info("device online", extra={"device": "d3"})
    assert [note.split(maxsplit=1)[1] for note in notes] == [
        "warning  lost device=d2", "warning  lost device=d3", "info     device online device=d3",
    ]  # fmt: skip


def test_a_traceback_takes_one_line_only(log: logging.Logger, notes: deque[str]) -> None:
    try:
        raise ValueError("x")  # noqa: TRY301  # there must be one
    except ValueError:
        log.exception("broken")
    assert len(notes) == 1
    assert "\n" not in notes[0]
