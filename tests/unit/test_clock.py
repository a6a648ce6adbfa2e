"""Data time runs evenly, follows the machine's clock when it is stepped, and knows when it was wrong."""

import pytest

from edge_agent.clock import Anchor, System, SystemClock
from edge_agent.metrics import Metrics
from edge_agent.ops.clock_watch import ClockWatch

S = 1_000_000_000
T0_NS = 1_790_000_000 * S


class FakeSystem(System):
    """Turned by hand."""

    boot_id = "boot"

    def __init__(self, wall_ns: int = T0_NS, *, is_set: bool = True) -> None:
        self.passed_ns, self.off_ns, self.is_set = 5 * S, wall_ns - 5 * S, is_set

    def wall_ns(self) -> int:
        return self.passed_ns + self.off_ns

    def monotonic_ns(self) -> int:
        return self.passed_ns

    def is_synced(self) -> bool:
        return self.is_set

    def let_pass(self, seconds: float) -> None:
        self.passed_ns += round(seconds * S)

    def step(self, seconds: float) -> None:
        self.off_ns += round(seconds * S)


def test_the_machine_says_what_time_it_is() -> None:
    system = System()
    clock = SystemClock()
    assert abs(clock.now_ns() - system.wall_ns()) < S
    assert isinstance(system.is_synced(), bool)
    assert System().boot_id == system.boot_id != ""


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0, -1.5])
def test_a_step_is_followed_when_it_is_seen_and_moves_nothing_before(step_s: float) -> None:
    system = FakeSystem()
    clock = SystemClock(system)
    system.let_pass(1)
    system.step(step_s)
    assert clock.now_ns() == T0_NS + S, "readings go on evenly until somebody has looked"
    assert clock.check() == round(step_s * S)
    assert clock.now_ns() == T0_NS + S + round(step_s * S)
    assert clock.check() == 0


def test_a_small_difference_is_made_up_for_slowly_and_time_never_goes_back() -> None:
    system = FakeSystem()
    clock = SystemClock(system)
    system.step(-0.5)
    before_ns = clock.now_ns()
    for _ in range(20):
        assert clock.check() == 0
        assert clock.now_ns() >= before_ns
        before_ns = clock.now_ns()
        system.let_pass(1)
    assert clock.now_ns() == system.wall_ns()


def test_a_clock_that_is_set_later_tells_the_times_from_before() -> None:
    system = FakeSystem(0, is_set=False)  # 1970
    clock = SystemClock(system)
    wrong = clock.anchor_of(clock.now_ns())
    assert wrong == Anchor("boot", 5 * S, 0, is_synced=False)
    system.let_pass(7)
    taken_ns = clock.now_ns()
    system.step(T0_NS / S)
    system.is_set = True
    assert clock.check() == T0_NS
    right = clock.synced
    assert right is not None
    assert clock.anchor_of(taken_ns) == wrong, "taken before, handed in after"
    assert clock.anchor_of(clock.now_ns()) is None
    assert taken_ns + right.offset_ns - wrong.offset_ns == system.wall_ns()
    system.let_pass(61)
    assert clock.anchor_of(taken_ns) is None


def test_a_clock_that_was_right_all_along_becomes_known_to_be() -> None:
    system = FakeSystem(is_set=False)
    clock = SystemClock(system)
    assert clock.anchor_of(clock.now_ns()) is not None
    system.is_set = True
    assert clock.check() == 0
    assert clock.synced is not None
    assert clock.synced.offset_ns == T0_NS - 5 * S


def test_a_clock_that_was_set_once_stays_trusted() -> None:
    system = FakeSystem()
    clock = SystemClock(system)
    system.is_set = False  # the time server is away for so long that the kernel no longer vouches for it
    assert clock.check() == 0
    assert clock.synced is not None


def test_steps_are_counted_and_told_on_the_edge(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    system = FakeSystem(is_set=False)
    metrics = Metrics()
    watch = ClockWatch(metrics, SystemClock(system))
    watch.look()
    for _ in range(50):
        system.step(7)
        watch.look()
    assert metrics.registry.get_sample_value("edge_agent_clock_steps_total") == 50
    assert metrics.registry.get_sample_value("edge_agent_clock_synced") == 0
    system.is_set = True
    watch.look()
    assert metrics.registry.get_sample_value("edge_agent_clock_synced") == 1
    assert [record.message for record in caplog.records] == [
        "the machine's clock is not set from outside; times may be wrong: set up NTP",
        "the machine's clock was stepped",
        "the machine's clock is set; times of readings taken before are corrected",
    ]
