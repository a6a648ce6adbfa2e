import re

import pytest

from edge_agent.cli.wording import ago, counted, local_time, reading_value, size

S = 1_000_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d"), (-5, "0 s")],
)
def test_times_ago_are_rounded_down_to_what_matters(seconds: int, text: str) -> None:
    assert ago(10 * S, (10 + seconds) * S) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1010, "1010 B"),
        (1024, "1 KiB"),
        (115_368, "113 KiB"),
        (1_040_000, "1016 KiB"),
        (5 * 2**40, "5120 GiB"),
    ],
)
def test_sizes_have_no_exponent(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (21.100000381, "21.1"), (7, "7"), (True, "True"), (b"\x01\xff", "01ff"), ("一", "一")],
)
def test_values_of_readings(value: object, text: str) -> None:
    assert reading_value(value) == text


def test_a_time_is_local_with_its_offset_and_no_time_is_empty() -> None:
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.500[+-]\d\d:\d\d", local_time(1_790_000_000 * S + S // 2)
    )
    assert local_time(0) == ""
    assert local_time(None) == ""


def test_counts_agree_with_their_noun() -> None:
    assert [counted(count, "row") for count in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
