"""Every mistake at once, each at its place, in words that say what to write."""

# ruff: noqa: E501 - each row is a mistake and its message, as they are written

from pathlib import Path

import pytest

from edge_agent import config
from edge_agent.config.problems import Problem, write_path
from edge_agent.errors import ConfigError
from edge_agent.registry import Registry
from tests.cases.config.kit import DEVICES, HEAD, problems_of

CASES = Path(__file__).parent.parent / "cases" / "config"


def device(*lines: str, points: str = "[{name: a, address: 1}]") -> str:
    """Return a document whose first device has ``lines`` from line 7 on, indented by four."""
    body = "".join(f"    {line}\n" for line in (*lines, f"points: {points}"))
    return f"{HEAD}devices:\n  - id: a\n    driver: fake\n{body}"


def test_ten_mistakes_are_ten_problems_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "ten-mistakes.yaml"
    path.write_text((CASES / path.name).read_text())
    path.chmod(0o600)  # that others have read its secret would be the next mistake
    with pytest.raises(ConfigError) as caught:
        config.load(path, Registry())
    found = [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]
    assert found == (CASES / "ten-mistakes.expected").read_text().splitlines()
    assert len(found) == 10
    assert "hunter2" not in str(caught.value)


def test_problems_sort_by_place_and_print_as_editors_read_them() -> None:
    late, early = Problem("a.yaml", 10, 1, "x", "late"), Problem("a.yaml", 9, 5, "", "early")
    assert sorted([late, early]) == [early, late]
    assert str(late) == "a.yaml:10:1: x: late"
    assert str(early) == "a.yaml:9:5: early"


def test_a_path_quotes_keys_that_are_no_plain_words() -> None:
    assert write_path(("devices", 3, "a b", "单位")) == 'devices[3]["a b"].单位'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("intervall: 1s", "7:5: devices[0].intervall: unknown key 'intervall'; did you mean 'interval'?"),
        ("interval: 5", "7:15: devices[0].interval: '5' has no unit; write 5 and one of ms, s, min, h, d, such as 500ms"),
        ("interval: 1ms", "7:15: devices[0].interval: must be at least 10ms, not '1ms'"),
        ("interval: 0s", "7:15: devices[0].interval: must be at least 10ms, not '0s'"),
        ("timeout: 0ms", "7:14: devices[0].timeout: must be greater than 0ms, not '0ms'"),
        ("interval:", "7:14: devices[0].interval: has no value; it must be a number"),
        ("max_failures: 1.5", "7:19: devices[0].max_failures: must be a whole number, not the number 1.5"),
        ("max_failures: three", "7:19: devices[0].max_failures: must be a whole number, not the text 'three'"),
        ("max_failures: 0", "7:19: devices[0].max_failures: must be at least 1, not 0"),
        ("enabled: yes", "7:14: devices[0].enabled: must be true or false, not the text 'yes'; YAML 1.2 knows only true and false"),
        ("name: 7", '7:11: devices[0].name: must be text, not the number 7; put it in quotes: "7"'),
        ("name: [a]", "7:11: devices[0].name: must be text, not a list"),
        ("labels: {line: 0017}", '7:20: devices[0].labels.line: must be text, not the number 0017; put it in quotes: "0017"'),
        ("labels: {17: a}", '7:14: devices[0].labels[17]: must be text, not the number 17; put it in quotes: "17"'),
        ("labels: a:b", "7:13: devices[0].labels: must be a mapping, not the text 'a:b'; write ': ', a colon with a space after it"),
        ("timeout：3s: 1", '7:5: devices[0]["timeout：3s"]: unknown key \'timeout：3s\'; write \': \', a colon with a space after it'),
        ("labels: a", "7:13: devices[0].labels: must be a mapping, not the text 'a'"),
        ("words: {0: 5}", '7:16: devices[0].words[0]: must be text, not the number 5; put it in quotes: "5"'),
        ("name: *nope", "7:11: devices[0].name: no anchor &nope before this alias"),
        ("labels: {a: *nope}", "7:17: devices[0].labels.a: no anchor &nope before this alias"),
        ("words: {0: idle, x: y}", "7:22: devices[0].words.x: must be a whole number, not the text 'x'"),
        ("transport: {kind: tcp}", "7:23: devices[0].transport.kind: must be serial or socket, not 'tcp'"),
        ("transport: {host: a}", "7:16: devices[0].transport.kind: the key 'kind' is missing"),
        ("transport: {kind: serial, port: 5}", '7:37: devices[0].transport.port: must be text, not the number 5; put it in quotes: "5"'),
        ("transport: {kind: serial, port: a, bauds: 1}", "7:40: devices[0].transport.bauds: unknown key 'bauds'; did you mean 'baud'?"),
        ("transport: {kind: socket, hosst: a}", "7:31: devices[0].transport.hosst: unknown key 'hosst'; did you mean 'host'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_device_is_one_problem_at_its_place(line: str, expected: str) -> None:
    assert problems_of(device(line)) == [expected]


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("{address: 1}", "7:14: devices[0].points[0].name: the key 'name' is missing"),
        ("{name: a}", "7:14: devices[0].points[0].address: the key 'address' is missing"),
        ("{name: a, adress: 1}", "7:24: devices[0].points[0].adress: unknown key 'adress'; did you mean 'address'?"),
        ("{name: a, address: 100}", "7:33: devices[0].points[0].address: must be at most 99, not 100"),
        ("{name: a, address: x}", "7:33: devices[0].points[0].address: must be a mapping, or a whole number, not the text 'x'"),
        ("{name: a, address: {word: 1, bit: 16}}", "7:48: devices[0].points[0].address.bit: must be at most 15, not 16"),
        ("{name: a, address: {word: 1}}", "7:33: devices[0].points[0].address.bit: the key 'bit' is missing"),
        ("{name: a, address: {first: 1, last: x}}", "7:50: devices[0].points[0].address.last: must be a whole number, not the text 'x'"),
        ("{name: a, address: {first: 1, last: 2, lasst: 3}}", "7:53: devices[0].points[0].address.lasst: unknown key 'lasst'; did you mean 'last'?"),
        ("{name: a, address: 1, class: trent}", "7:43: devices[0].points[0].class: must be alarm or event or counter or trend, not 'trent'; did you mean 'trend'?"),
        ("{name: a, address: 1, identifier: 5}", '7:48: devices[0].points[0].identifier: must be text, or true or false, not the number 5; put it in quotes: "5"'),
        ("{name: a, address: 1, deadband: {percent: 101}}", "7:56: devices[0].points[0].deadband.percent: must be at most 100, not 101"),
        ("5", "7:14: devices[0].points[0]: must be a mapping, not the number 5"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_point_is_one_problem_at_its_place(point: str, expected: str) -> None:
    assert problems_of(device(points=f"[{point}]")) == [expected]


@pytest.mark.parametrize("points", ["{}", "5", "[]"])
def test_points_must_be_a_list_with_an_entry(points: str) -> None:
    (found,) = problems_of(device(points=points))
    assert found.startswith("7:13: devices[0].points: must ")


def test_a_mistake_in_an_aliased_list_stands_where_it_is_written() -> None:
    text = f"""\
{HEAD}devices:
  - {{id: a, driver: fake, points: &p [{{name: a, address: x1}}]}}
  - {{id: b, driver: fake, points: *p}}
"""
    found = problems_of(text)
    assert [line.partition(": ")[0] for line in found] == ["5:58", "5:58"]
    assert ["devices[0].points[0].address" in found[0], "devices[1].points[0].address" in found[1]] == [True, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{HEAD}{DEVICES}opps: {{}}\n", "6:1: opps: unknown key 'opps'; did you mean 'ops'?"),
        (HEAD, "1:1: devices: the key 'devices' is missing"),
        (f"{HEAD}devices: {{}}\n", "4:10: devices: must be a list, not a mapping"),
        (f"{HEAD}devices:\n", "4:9: devices: has no value; it must be a list"),
        (f"{HEAD}{DEVICES}outbox:\n", "6:8: outbox: has no value; it must be a mapping"),
        (f"{HEAD}{DEVICES}ops: 5\n", "6:6: ops: must be a mapping, not the number 5"),
        (f"{HEAD}devices: [5]\n", "4:11: devices[0]: must be a mapping, not the number 5"),
        (f"{HEAD}{DEVICES}drivers_path: [5]\n", '6:16: drivers_path[0]: must be text, not the number 5; put it in quotes: "5"'),
        (f"{HEAD}{DEVICES}drivers_path: [none]\n", "6:16: drivers_path[0]: /etc/edge-agent/none is not a folder"),
        (f"{HEAD}{DEVICES.replace('fake', 'fakee')}", "5:28: devices[0].driver: no driver 'fakee'; did you mean 'fake'?"),
        (f"{HEAD}{DEVICES.replace('fake', 'xyz')}", "5:28: devices[0].driver: no driver 'xyz'; known are broken, fake"),
        (f"{HEAD}{DEVICES.replace('fake', 'broken')}", "5:28: devices[0].driver: driver 'broken' cannot be imported (from tests)"),
        (f"{HEAD}{DEVICES.replace('driver: fake, ', '')}", "5:5: devices[0].driver: the key 'driver' is missing"),
    ],
)  # fmt: skip
def test_a_mistake_at_the_top_is_one_problem_at_its_place(text: str, expected: str) -> None:
    assert problems_of(text) == [expected]


def test_a_device_of_an_unknown_driver_is_checked_for_what_every_device_has() -> None:
    found = problems_of(
        f"{HEAD}devices:\n  - {{id: a, driver: xyz, host: b, interval: 5, points: [{{name: c}}]}}\n"
    )
    assert [line.partition(" ")[2].partition(":")[0] for line in found] == [
        "devices[0].driver",
        "devices[0].interval",
    ]


def test_a_mapping_with_a_merge_key_misses_nothing_more() -> None:
    (found,) = problems_of(device(points="[&p {name: a, address: 1}, {<<: *p}]"))
    assert "merge keys" in found
