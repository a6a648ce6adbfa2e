import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent_opcua.globs import parse_glob


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("Spindle/*", "Spindle/Speed", True),
        ("Spindle/*", "Spindle/Drive/Speed", False),
        ("Spindle/*", "Spindle", False),
        ("**/Speed", "Speed", True),
        ("**/Speed", "Spindle/Drive/Speed", True),
        ("**/Speed", "Speed/Max", False),
        ("**", "a/b/c", True),
        ("Axis?/**", "Axis1/Pos/Act", True),
        ("Axis?/**", "Axis10/Pos", False),
        ("**/Drive/**/Speed", "A/Drive/B/C/Speed", True),
        ("**/Drive/**/Speed", "A/Speed", False),
        ("Axis[1]/*.Act", "Axis[1]/Pos.Act", True),
        ("Axis[1]/*", "Axis1/Pos", False),
        ("主轴/*", "主轴/转速", True),
        ("a&*/&?", "a*/?", True),
        ("a&*/&?", "ab/c", False),
    ],
)
def test_a_glob_matches_what_it_says(glob: str, path: str, *, matches: bool) -> None:
    assert parse_glob(glob).matches(path.split("/")) is matches


@pytest.mark.parametrize(
    ("glob", "path", "leads"),
    [
        ("Spindle/*", "Spindle", True),
        ("Spindle/*", "Axis", False),
        ("Spindle/*", "Spindle/Speed", False),
        ("**/Speed", "any/thing", True),
        ("**", "any/thing", True),
        ("Axis/**/Speed", "Spindle", False),
    ],
)
def test_only_what_may_lead_to_a_match_is_looked_into(glob: str, path: str, *, leads: bool) -> None:
    assert parse_glob(glob).may_lead(path.split("/")) is leads


def test_a_slash_can_be_part_of_a_name() -> None:
    assert parse_glob("a&/b/*").matches(["a/b", "c"])
    assert not parse_glob("a&/b/*").matches(["a", "b", "c"])


_STEPS = st.lists(st.sampled_from(["a", "b", "*", "**", "?b"]), min_size=1, max_size=5)
_PATHS = st.lists(st.sampled_from(["a", "b", "ab", "bb"]), min_size=1, max_size=6)


@given(_STEPS, _PATHS)
def test_every_beginning_of_a_match_leads_to_it(steps: list[str], path: list[str]) -> None:
    glob = parse_glob("/".join(steps))
    if glob.matches(path):
        assert all(glob.may_lead(path[:length]) for length in range(len(path)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a step without a name"),
        ("a//b", "a step without a name"),
        ("a/", "a step without a name"),
        ("/a", "begins with /"),
        ("a&", "ends with &"),
        ("/".join("a" * 33), "more than 32"),
    ],
)
def test_what_is_no_glob_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_glob(text)
