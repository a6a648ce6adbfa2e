"""The table of the demo: fits the window, aligns numbers, hides nothing without saying so."""

import pytest
from rich.console import Console

from edge_agent.current import DevicePhase
from edge_agent.current.state import Value
from edge_agent.demo.snapshot import Figures, PointLine, Snapshot
from edge_agent.demo.table import choose, format_age, format_bytes, format_value, plain_line, render, summary
from edge_agent.model import Quality


def line(device: str, point: str, **changes: object) -> PointLine:
    values: dict[str, object] = {
        "phase": DevicePhase.ONLINE, "value": 1.5, "unit": "bar", "status": 0, "age_s": 0.4, "code": "",
    }  # fmt: skip
    return PointLine(device=device, point=point, **(values | changes))  # type: ignore[arg-type]


LINES = tuple(line(device, f"point_{n}") for device in ("cnc-01", "press-01", "meter-01") for n in range(10))


def snapshot(lines: tuple[PointLine, ...] = LINES, **changes: object) -> Snapshot:
    values: dict[str, object] = {
        "elapsed_s": 75.0, "figures": Figures(5000, 4000, 3990, 3980, 3970, 3), "rate": 86.4, "pending_rows": 2,
        "outbox_bytes": 163840, "is_broker_up": True, "notes": (),
        "addresses": {"broker": "127.0.0.1:1883", "pages": "http://127.0.0.1:9464"},
    }  # fmt: skip
    return Snapshot(lines=lines, **(values | changes))  # type: ignore[arg-type]


def screen(moment: Snapshot, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render(moment, width, height))
    return capture.get().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40), (100, 12), (200, 60)])
@pytest.mark.parametrize("notes", [(), ("one", "two", "a long note " * 30)])
def test_it_fits_the_window(width: int, height: int, notes: tuple[str, ...]) -> None:
    shown = screen(snapshot(notes=notes), width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width


def test_a_small_window_shows_the_first_points_of_every_device_and_how_many_are_left() -> None:
    shown = "\n".join(screen(snapshot(), 80, 24))
    assert all(device in shown for device in ("cnc-01", "press-01", "meter-01"))
    assert "… and 14 more points" in shown


def test_a_large_window_shows_all_points_and_whole_codes() -> None:
    shown = "\n".join(screen(snapshot((*LINES, line("x", "y", code="88.000.0001/EQ.x.y"))), 140, 45))
    assert "more points" not in shown
    assert "88.000.0001/EQ.x.y" in shown
    assert shown.count("point_9") == 3


def test_room_is_shared_and_the_order_kept() -> None:
    assert [(chosen.device, chosen.point) for chosen in choose(LINES, 5)] == [
        ("cnc-01", "point_0"), ("cnc-01", "point_1"),
        ("press-01", "point_0"), ("press-01", "point_1"),
        ("meter-01", "point_0"),
    ]  # fmt: skip


def test_decimal_points_stand_under_each_other() -> None:
    lines = tuple(line("d", name, value=value) for name, value in {"a": 9003.04, "b": 700412, "c": 0.5}.items())
    rows = [row for row in screen(snapshot(lines), 80, 24) if "bar" in row]
    ends = [row.index(digits) + len(digits) for row, digits in zip(rows, ("9,003", "700,412", "0"), strict=True)]
    assert ends == [rows[0].index(".04")] * 3


def test_a_bad_reading_shows_its_quality_and_no_value() -> None:
    shown = screen(snapshot((line("d", "p", value=None, status=Quality.BAD_SENSOR_FAILURE),)), 140, 24)
    row = next(row for row in shown if " p " in row)
    assert "BAD_SENSOR_FAILURE" in row
    assert "1.50" not in row


def test_a_device_that_is_away_is_counted() -> None:
    away = tuple(line("press-01", "p", phase=DevicePhase.OFFLINE) for _ in range(2))
    assert "1 of 2 devices online" in screen(snapshot((line("cnc-01", "p"), *away)), 80, 24)[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "no"),
        (None, "–"),
        (7, "7"),
        (12345.678, "12,345.68"),
        ("", "“”"),
        ("RUN", "RUN"),
        (b"\x01", "01"),
    ],
)
def test_values_are_written_for_people(value: Value, text: str) -> None:
    assert format_value(value).strip() == text


@pytest.mark.parametrize(
    ("age_s", "text"), [(None, "–"), (-0.01, "0.0 s"), (0.44, "0.4 s"), (59.4, "59 s"), (150, "2 min")]
)
def test_ages_are_written_for_people(age_s: float | None, text: str) -> None:
    assert format_age(age_s) == text


def test_sizes_are_written_for_people() -> None:
    assert (format_bytes(163840), format_bytes(3 << 19)) == ("160 KiB", "1.5 MiB")


def test_without_a_terminal_one_line_tells_it() -> None:
    assert plain_line(snapshot()) == (
        "   75 s  collected 5000  committed 4000  acknowledged 3980  received 3970  86 readings/s"
        "  outbox 2 rows, 160 KiB  broker up"
    )


def test_the_summary_tells_what_was_lost() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(summary(Figures(10, 8, 8, 8, 6, 0), 2, 3, 7))
    rows = {parts[0]: parts[1] for row in capture.get().splitlines() if len(parts := row.split()) > 2}
    assert (rows["committed"], rows["received"], rows["lost"], rows["codes"]) == ("8", "6", "2", "7")
