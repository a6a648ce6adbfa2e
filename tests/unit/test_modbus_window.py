"""When a device is asked one at a time because it does not take more, and when it is not to blame."""

from edge_agent_modbus.window import CLEAN, KEY, Window


def test_a_connection_that_breaks_twice_with_company_is_proof_and_is_kept() -> None:
    state: dict[str, str] = {}
    window = Window(4, state)
    window.struck("it broke the connection")
    assert (window.places, state) == (4, {})
    window.struck("it broke the connection")
    assert (window.places, window.given_up) == (1, "1, because with more it broke the connection")
    assert Window(4, state).places == 1
    del state[KEY]
    assert window.places == 4, "it may be forgotten on request"
    window.struck("it broke the connection")
    assert window.places == 4
    window.struck("it broke the connection")
    assert window.places == 1, "and is found out again"


def test_incidents_far_apart_are_none() -> None:
    window = Window(4, {})
    for _ in range(5):
        window.struck("it broke the connection")
        for _ in range(CLEAN):
            window.answered(1, has_company=True)
    assert window.places == 4


def test_answers_without_company_prove_nothing() -> None:
    window = Window(4, {})
    window.struck("it broke the connection")
    for _ in range(CLEAN):
        window.answered(1, has_company=False)
    window.struck("it broke the connection")
    assert window.places == 1


def test_two_answers_for_one_request_are_proof() -> None:
    window = Window(4, {})
    window.struck("two answers came for one request", is_proof=True)
    assert window.given_up == "1, because with more two answers came for one request"


def test_a_unit_that_is_silent_with_company_and_answers_alone_does_not_take_company() -> None:
    window = Window(4, {})
    for _ in range(2):
        window.silent(7, has_company=True)
        assert (window.places, window.given_up) == (1, ""), "it is asked alone first"
        window.answered(8, has_company=False)
        assert window.places == 1
        window.answered(7, has_company=False)
    assert window.given_up == "1, because with more unit 7 was silent"


def test_a_dead_unit_is_not_to_blame() -> None:
    window = Window(4, {})
    window.silent(7, has_company=True)
    window.silent(7, has_company=False)
    assert window.places == 4
    window.silent(7, has_company=True)
    assert window.places == 4, "it is known to be dead"
    window.answered(7, has_company=True)
    window.silent(7, has_company=True)
    assert window.places == 1, "it was not dead any more"


def test_one_at_a_time_has_nothing_to_give_up() -> None:
    state = {KEY: "1, because"}
    assert (Window(1, state).places, Window(1, state).given_up) == (1, "")
