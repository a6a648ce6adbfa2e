from hypothesis import given
from hypothesis import strategies as st

from edge_agent.collect.schedule import Schedule, phase_of


def test_due_times_do_not_drift_over_many_polls() -> None:
    schedule = Schedule([0.1], 0.0, 0.0)
    for _ in range(20_000):
        due_s, group = schedule.next()
        assert schedule.done(group, due_s + 0.01) == 0
    assert schedule.next()[0] == 20_000 * 0.1


def test_a_poll_that_takes_too_long_skips_due_times_and_counts_them() -> None:
    schedule = Schedule([1.0], 0.0, 0.0)
    assert schedule.done(0, 3.5) == 2
    assert schedule.next() == (3.0, 0)


def test_a_late_poll_within_its_interval_is_not_an_overrun() -> None:
    schedule = Schedule([1.0], 0.0, 0.0)
    assert schedule.done(0, 1.4) == 0
    assert schedule.next() == (1.0, 0)


def test_the_faster_group_goes_first_when_two_are_due() -> None:
    assert Schedule([5.0, 1.0], 0.0, 0.0).next() == (0.0, 1)


def test_phases_of_many_devices_are_spread() -> None:
    tenths = {int(phase_of(f"device-{number}") * 10) for number in range(200)}
    assert tenths == set(range(10))


@given(st.floats(0.01, 3600), st.floats(0, 0.999), st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_due_times_lie_on_the_grid_and_only_go_forward(
    interval_s: float, phase: float, delays_s: list[float]
) -> None:
    schedule = Schedule([interval_s], 0.0, phase)
    now_s, total = 0.0, 0
    for poll, delay_s in enumerate(delays_s):
        due_s, _ = schedule.next()
        assert abs(due_s - (phase + poll + total) * interval_s) <= 1e-6 * max(1.0, due_s)
        now_s = max(now_s, due_s) + delay_s
        total += schedule.done(0, now_s)
        assert schedule.next()[0] > due_s
