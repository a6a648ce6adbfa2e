"""The backlog keeps to its rate, waits a time of its own before it begins, and says when it will be through."""

import pytest

from edge_agent.publish.replay import LONGEST_START_PAUSE_S, Pace, Progress, start_pause_s


def sent_in(pace: Pace, seconds: float, readings: int, *, step_s: float = 0.01) -> int:
    """Return how many readings go in messages of ``readings`` when somebody asks at every step."""
    sent = 0
    for turn in range(round(seconds / step_s)):
        now_s = turn * step_s
        while pace.wait_s(now_s) == 0:
            pace.spend(readings, now_s)
            sent += readings
    return sent


@pytest.mark.parametrize("readings", [1, 90, 1000])
def test_the_rate_holds_in_the_long_run_whatever_the_messages_are(readings: int) -> None:
    sent = sent_in(Pace(100.0, 0.0), 100.0, readings)
    assert 10_000 <= sent <= 10_000 + 25 + readings


def test_what_was_not_used_is_not_saved_up() -> None:
    pace = Pace(100.0, 0.0)
    burst = 0
    while pace.wait_s(1000.0) == 0:
        pace.spend(1, 1000.0)
        burst += 1
    assert burst <= 27


def test_without_a_rate_nothing_waits_but_the_start() -> None:
    pace = Pace(None, 5.0)
    assert pace.wait_s(2.0) == 3.0
    pace.spend(1_000_000, 5.0)
    assert pace.wait_s(5.0) == 0.0


def test_the_wait_is_exact_when_somebody_sleeps_it() -> None:
    pace = Pace(10.0, 0.0)
    pace.spend(100, 0.0)
    now_s = pace.wait_s(0.0)
    assert now_s == pytest.approx(9.75)
    assert pace.wait_s(now_s) == 0.0


def test_a_large_backlog_waits_at_random_and_a_small_one_hardly() -> None:
    assert start_pause_s(100, lambda: 0.99) < 0.01
    assert start_pause_s(10**9, lambda: 0.5) == LONGEST_START_PAUSE_S / 2
    assert start_pause_s(10**9, lambda: 0.0) == 0.0


def test_progress_follows_the_rate_and_says_how_long_it_takes() -> None:
    progress = Progress(0.0)
    assert progress.eta_s(0) == 0.0
    assert progress.eta_s(10) is None
    for second in range(1, 100):
        progress.add(50)
        progress.tick(float(second))
    assert progress.rate == pytest.approx(50)
    assert progress.eta_s(500) == pytest.approx(10)
    for second in range(100, 1000):
        progress.tick(float(second))
    assert progress.eta_s(500) is None
