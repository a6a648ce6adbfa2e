import pytest

from edge_agent_opcua.units import NAMESPACE, UCUM, common_code, is_same, unit_text


@pytest.mark.parametrize(
    ("code", "number", "ucum"),
    [
        ("CEL", 4408652, "Cel"),
        ("BAR", 4342098, "bar"),
        ("RPM", 5394509, "{rev}/min"),
        ("2X", 12888, "m/min"),
        ("P1", 20529, "%"),
        ("4H", 13384, "um"),
        ("KMQ", 4934993, "kg/m3"),
    ],
)
def test_a_code_is_written_in_ucum(code: str, number: int, ucum: str) -> None:
    assert common_code(number) == code
    assert unit_text(NAMESPACE, number, "as shown") == ucum == UCUM[code]


def test_what_is_not_in_the_table_is_as_the_server_shows_it() -> None:
    gauge = int.from_bytes(b"H79", "big")
    assert unit_text(NAMESPACE, gauge, " Fg\n") == "Fg"
    assert unit_text(NAMESPACE, gauge, "") == "H79"
    assert unit_text("http://example.com/units", 4408652, "Grad") == "Grad"
    assert unit_text(NAMESPACE, -1, "") == ""


@pytest.mark.parametrize("number", [-1, 0, 1, 0x7FFFFFFF])
def test_a_number_that_is_no_code_is_none(number: int) -> None:
    assert common_code(number) == ""


def test_a_unit_may_be_written_in_ucum_as_the_server_shows_it_or_as_its_code() -> None:
    for written in ("Cel", "°C", "CEL"):
        assert is_same(written, NAMESPACE, 4408652, "°C")
    assert not is_same("K", NAMESPACE, 4408652, "°C")


def test_codes_are_codes_and_no_unit_is_left_empty() -> None:
    assert all((1 < len(code) < 4 and code.isalnum() and code.isupper()) or code.isdigit() for code in UCUM)
    assert all(UCUM.values())
