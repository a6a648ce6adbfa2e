import logging

import pytest

from edge_agent.edge_log import LINES_PER_PERIOD, EdgeLog
from edge_agent.ops.logs import fields_of
from edge_agent.testing.fakes import FakeClock

LOGGER = logging.getLogger("edge_agent.test")


@pytest.fixture(autouse=True)
def levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, object]]]:
    return [(record.levelname, record.getMessage(), fields_of(record)) for record in caplog.records]


async def test_the_first_failure_and_the_recovery_are_written_and_nothing_between(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    log = EdgeLog(LOGGER, clock.monotonic_s, device="press-01")
    for _ in range(4):
        log.failed("device lost", error="refused")
        await clock.advance(2.5)
    log.recovered("device is back")
    assert lines(caplog) == [
        ("WARNING", "device lost", {"device": "press-01", "error": "refused"}),
        ("INFO", "device is back", {"device": "press-01", "failures": 4, "for_s": 10.0}),
    ]


async def test_a_long_failure_is_repeated_once_an_hour_with_its_count(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    log = EdgeLog(LOGGER, clock.monotonic_s)
    for _ in range(150):  # 2 h 30 min
        log.failed("broker gone")
        await clock.advance(60)
    assert [fields for _, _, fields in lines(caplog)] == [
        {},
        {"failures": 61, "for_s": 3600.0},
        {"failures": 121, "for_s": 7200.0},
    ]


def test_a_recovery_without_a_failure_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    EdgeLog(LOGGER, FakeClock().monotonic_s).recovered("device is back")
    assert lines(caplog) == []


async def test_flapping_is_bounded_and_what_was_left_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    log = EdgeLog(LOGGER, clock.monotonic_s)
    for _ in range(500):
        log.failed("device lost")
        log.recovered("device is back")
    assert len(caplog.records) == LINES_PER_PERIOD
    await clock.advance(3600)
    log.failed("device lost")
    log.recovered("device is back")
    assert [fields.get("suppressed") for _, _, fields in lines(caplog)[LINES_PER_PERIOD:]] == [980, None]


def test_repeated_failures_can_be_seen_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = EdgeLog(LOGGER, FakeClock().monotonic_s)
    log.failed("device lost", error="refused")
    log.failed("device lost", error="silent")
    assert [(level, fields.get("error")) for level, _, fields in lines(caplog)] == [
        ("WARNING", "refused"),
        ("DEBUG", "silent"),
    ]
