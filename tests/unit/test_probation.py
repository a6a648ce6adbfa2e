from edge_agent.probation import Probation


def test_each_failure_doubles_the_pause_up_to_the_longest() -> None:
    probation, now_s, pauses = Probation[str](), 0.0, []
    for _ in range(9):
        probation.failed("a", now_s)
        pause_s = next(s for s in range(4000) if probation.is_due("a", now_s + s))
        pauses.append(pause_s)
        now_s += pause_s
    assert pauses == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_what_passed_begins_anew_and_others_are_not_concerned() -> None:
    probation = Probation[str](60)
    probation.failed("a", 0)
    probation.failed("a", 30)
    assert probation.is_due("b", 0)
    assert not probation.is_due("a", 89)
    probation.passed("a")
    assert (probation.is_due("a", 31), len(probation)) == (True, 0)
    probation.failed("a", 31)
    assert probation.is_due("a", 61)
