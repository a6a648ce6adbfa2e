"""The subscriber's count: every reading once, whatever comes again."""

import json

import pytest

from edge_agent.demo import tally as tally_module
from edge_agent.demo.tally import Tally


def data(*rows: tuple[int, dict[str, int]], epoch: str = "e1", **extra: str) -> bytes:
    message = {
        "schema": "edge.data/1",
        "gateway": "demo",
        "device": "cnc-01",
        "epoch": epoch,
        "rows": [
            {"row": row, "points": {name: {"v": [0.5] * n, "dt_us": [0] * n} for name, n in points.items()}}
            for row, points in rows
        ],
    }
    return json.dumps(message | extra).encode()


@pytest.fixture
def tally() -> Tally:
    return Tally()


def test_readings_of_all_rows_and_points_are_counted(tally: Tally) -> None:
    tally.take_data(data((1, {"a": 2, "b": 1}), (2, {"a": 1})))
    assert (tally.received, tally.duplicated) == (4, 0)


def test_a_row_that_comes_again_is_counted_as_duplicated(tally: Tally) -> None:
    tally.take_data(data((1, {"a": 2, "b": 1})))
    tally.take_data(data((1, {"a": 2, "b": 1})))
    assert (tally.received, tally.duplicated) == (3, 3)


def test_a_row_that_comes_again_in_part_adds_only_what_is_new(tally: Tally) -> None:
    tally.take_data(data((1, {"a": 2})))
    tally.take_data(data((1, {"a": 3, "b": 1})))
    tally.take_data(data((1, {"a": 1})))
    assert (tally.received, tally.duplicated) == (4, 3)


def test_the_same_row_number_of_another_epoch_is_another_row(tally: Tally) -> None:
    tally.take_data(data((1, {"a": 1})))
    tally.take_data(data((1, {"a": 1}), epoch="e2"))
    assert (tally.received, tally.duplicated) == (2, 0)


def test_codes_come_from_data_and_directory(tally: Tally) -> None:
    tally.take_data(data((1, {"a": 1}), code="88.000.1/EQ.1"))
    directory = {
        "gateway": {"handle": "88.000.1/GW.1"},
        "devices": {"cnc-01": {"handle": "88.000.1/EQ.1"}},
        "points": {"cnc-01/a": {"handle": "88.000.1/EQ.1.a"}},
    }
    tally.take_directory(json.dumps(directory).encode())
    assert tally.report()["codes"] == ["88.000.1/EQ.1", "88.000.1/EQ.1.a", "88.000.1/GW.1"]
    assert tally.report()["devices"] == ["cnc-01"]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        b"[]",
        b"{}",
        data((1, {"a": 1}), schema="edge.data/9"),
        data().replace(b'"rows": []', b'"rows": [3]'),
    ],
)
def test_what_is_not_a_data_message_is_counted_and_breaks_nothing(tally: Tally, payload: bytes) -> None:
    tally.take_data(payload)
    assert (tally.malformed, tally.received) == (1, 0)


def test_a_broken_directory_is_counted_and_breaks_nothing(tally: Tally) -> None:
    tally.take_directory(b'{"gateway": 3}')
    assert tally.malformed == 1


def test_the_number_of_remembered_rows_is_bounded(tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "_REMEMBERED_ROWS", 10)
    for row in range(100):
        tally.take_data(data((row, {"a": 1})))
    assert len(tally._rows) == 10
    assert tally.received == 100
