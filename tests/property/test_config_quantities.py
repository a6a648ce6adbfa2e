"""Durations, sizes and scalars: what is written is what is meant."""

import math

import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.scalars import parse_plain
from edge_agent.config.wording import format_size
from edge_agent.model.quantity import DURATION_UNITS_S, SIZE_UNITS_BYTES, parse_duration_s, parse_size_bytes


@given(st.integers(0, 10**9), st.sampled_from([*DURATION_UNITS_S]))
def test_a_duration_is_its_number_in_its_unit(number: int, unit: str) -> None:
    assert parse_duration_s(f"{number}{unit}") == number * DURATION_UNITS_S[unit]
    assert parse_duration_s(f" {number} {unit} ") == number * DURATION_UNITS_S[unit]


@given(st.integers(0, 2**50))
def test_a_size_that_is_written_is_read_as_the_same_size(size_bytes: int) -> None:
    assert parse_size_bytes(f"{size_bytes}B") == size_bytes
    if size_bytes % 1000 == 0 or size_bytes % 1024 == 0:
        assert parse_size_bytes(format_size(size_bytes)) == size_bytes


@given(st.integers(0, 2**20), st.sampled_from([*SIZE_UNITS_BYTES]))
def test_a_size_is_its_number_in_its_unit(number: int, unit: str) -> None:
    assert parse_size_bytes(f"{number}{unit}") == number * SIZE_UNITS_BYTES[unit]


@given(st.integers(-(10**30), 10**30))
def test_whole_numbers_are_read_back(number: int) -> None:
    assert parse_plain(str(number)) == number
    if number >= 0:
        assert parse_plain(hex(number)) == parse_plain(oct(number)) == number


@given(st.floats())
def test_numbers_are_read_back(number: float) -> None:
    written = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(number), repr(number))
    parsed = parse_plain(written)
    assert isinstance(parsed, float)
    assert parsed == number or (math.isnan(parsed) and math.isnan(number))


@given(st.one_of(st.booleans(), st.integers(), st.none(), st.text(st.characters(codec="utf-8"))))
def test_what_a_yaml_writer_writes_unquoted_is_the_value_or_its_text(value: object) -> None:
    """A YAML 1.1 writer quotes what 1.2 would take for something else, but numbers like 0E0 and its booleans."""
    written = yaml.safe_dump(value, allow_unicode=True)
    if written[:1] not in "'\"|>" and written.endswith("\n...\n") and written.count("\n") == 2:
        parsed = parse_plain(written.removesuffix("\n...\n"))
        assert parsed == value or (isinstance(value, str) and isinstance(parsed, float) and parsed == float(value))


def test_a_number_without_a_point_is_one_in_yaml_1_2_only() -> None:
    assert parse_plain("0E0") == 0.0
