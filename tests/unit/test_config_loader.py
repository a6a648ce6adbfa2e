"""YAML to data with places: the core schema, and every way in which a file is not one."""

# ruff: noqa: E501 - each row is a mistake and its message, as they are written

import math
from pathlib import Path

import pytest

from edge_agent.config.loader import MAX_DEPTH, load_document, parse
from edge_agent.config.scalars import parse_plain
from edge_agent.config.tags import Secrets
from edge_agent.errors import ConfigError


def data(text: str) -> object:
    document = parse(text, Path("a.yaml"), Secrets(Path(), {}))
    assert document.problems == []
    return document.root.value


def problems(text: str | bytes, tmp_path: Path) -> list[str]:
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        _, document = load_document(path)
    except ConfigError as exc:
        return [str(problem).removeprefix(f"{path}:") for problem in exc.problems]
    return [str(problem).removeprefix(f"{path}:") for problem in document.problems]


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "off", "12:30:45", "2026-11-23", "1_000", "0b1", "1.2.3", "-", "."]
)
def test_what_yaml_1_1_took_for_something_else_is_text(text: str) -> None:
    assert parse_plain(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("-7", -7), ("+7", 7), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0),
        ("true", True), ("False", False), ("~", None), ("null", None), ("", None), ("-.inf", -math.inf),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    parsed = parse_plain(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_quoted_scalar_is_always_text() -> None:
    assert data("a: '5'\nb: \"true\"\nc: |\n  5\n") == {"a": "5", "b": "true", "c": "5\n"}


def test_keys_keep_their_type() -> None:
    assert data("{0: idle, 1: busy, x: y}") == {0: "idle", 1: "busy", "x": "y"}


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    _, document = load_document(path)
    place = document.locate(("a",))
    assert document.root.value == {"a": 1}
    assert (place.key.line, place.key.column, place.node.column) == (1, 1, 4)


def test_an_alias_is_the_value_once_more() -> None:
    assert data("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_columns_count_characters() -> None:
    document = parse("甲: {乙: 丙丁, 戊: 1}\n", Path("a.yaml"), Secrets(Path(), {}))
    assert document.locate(("甲", "戊")).key.column == 12
    assert document.locate(("甲", "戊")).node.column == 15


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "4:3: b.c: the key 'c' is already in line 3; remove one"),
        ("a: {1: x, 1: y}\n", "1:11: a[1]: the key '1' is already in line 1; remove one"),
        ("a:\n\tb: 1\n", "2:1: not YAML: a tab cannot indent; use spaces"),
        ("", "1:1: the file is empty; start from configs/minimal.yaml"),
        ("# nothing\n", "1:1: the file is empty; start from configs/minimal.yaml"),
        ("- a\n", "1:1: the top of the file must be a mapping of keys: gateway:, outbox:, …"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document; one file is one document, remove the ---"),
        ("a: *x\n", "1:4: a: no anchor &x before this alias"),
        ("a: &x [*x]\n", "1:8: a[0]: the alias *x is inside the value that it names"),
        ("a: &x 1\nb: &x 2\n", "2:4: b: the anchor &x is already used"),
        ("a: &x {y: 1}\nb: {<<: *x}\n", "2:5: b: merge keys (<<) are not part of YAML 1.2; write the keys, or use *alias as a value"),
        ("a: {[1]: 2}\n", "1:5: a: a key must be a word or a whole number"),
        ("a: {1.5: 2}\n", '1:5: a: a key must be a word or a whole number; put it in quotes: "1.5"'),
        ("a: {true: 2}\n", '1:5: a: a key must be a word or a whole number; put it in quotes: "true"'),
        ("a: !!str 5\n", "1:4: a: unknown tag tag:yaml.org,2002:str; known are !env, !file, !credential; plain text needs quotes"),
        ("a: !b [1]\n", "1:4: a: unknown tag !b; known are !env, !file, !credential"),
        ("a: !env [B]\n", "1:4: a: !env must be followed by a name, not by a list or mapping"),
        (f"a: {'9' * 101}\n", "1:4: a: a number of more than 100 characters; put it in quotes if it is text"),
        ("a: 1\nb: \x07\n", "2:4: the control character U+0007 cannot stand in YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_document_has_its_place(text: str, expected: str, tmp_path: Path) -> None:
    assert problems(text, tmp_path) == [expected]


def test_several_mistakes_of_a_document_come_at_once(tmp_path: Path) -> None:
    text = "a: 1\na: 2\nb: *x\nc: !d 1\n"
    assert [line.split(" ")[0] for line in problems(text, tmp_path)] == ["2:1:", "3:4:", "4:4:"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g:\n  id:gw\n  name: x\n", "2:5: a space is missing after ':'"),
        ("g:\n  id: gw\n  name:x\nd: []\n", "3:7: a space is missing after ':'"),
        ("g：\n  id: gw\n", "1:2: a full-width colon '：' means nothing; write ':' and a space"),
        ("g:\n  - id： gw\n    name: x\n", "2:7: a full-width colon '：' means nothing; write ':' and a space"),
        ("g: [甲，乙]\n", None),
        ("g: {id: gw， name: x}\n", "1:11: a full-width comma '，' means nothing; write ','"),
        ("g:\n  - {id: '甲，a: b', n: 1\nh: 1\n", "2:5: this is not closed: ',' or '}' is missing before line 3, column 2"),
        ("g: 甲，乙\n  h: 1\n", "2:3: wrong indentation: line 1 already has its value, so nothing can stand below it"),
        ("g:\n  b: 1\n\tc: 2\n", "3:1: a tab cannot indent; use spaces"),
        ("g:\n  b: 1\n c: 2\n", "3:2: wrong indentation: this is in line with nothing above; the mapping around it begins in line 1, column 1"),
        ("g:\n  - x: 1\n   z: 3\n", "3:4: wrong indentation: this is in line with nothing above; the list around it begins in line 2, column 3"),
        ("- b\na: 1\n", "2:1: this key stands among list entries; check the indentation"),
        ("a: x\n- b\n", "2:1: this stands among keys and is none; check the indentation"),
        ("a: 1\nb\nc: 2\n", "2:1: no ': ' in this line; write key: value, or check the indentation"),
        ("a: b: c\n", "1:5: a second ': ' in one line; put a value that holds ': ' in quotes"),
        ("a: - b\n", "1:4: '- ' begins a list entry; it needs a line of its own"),
        ("a: @x\n", "1:4: a value cannot begin with '@'; put it in quotes"),
        ("a: 'it's'\n", "1:8: nothing can stand behind the quote or bracket that closes before this"),
        ('a: "C:\\dir"\n', "1:7: a backslash has a meaning inside \"…\"; write '…' around this text instead"),
        ('a: "x\nb: 3\n', "1:4: the quote that begins here is never closed"),
        ("a:\n  b: [1, 2\nc: 3\n", "2:6: this is not closed: ',' or ']' is missing before line 3, column 2"),
        ("a: {x: 1;y: 2}\n", "1:11: ',' or '}' is missing before this"),
        ("a: [\n", "2:1: did not find expected node content while parsing a flow node (which starts in line 2, column 1)"),
    ],
)  # fmt: skip
def test_a_syntax_error_stands_where_it_begins_with_its_usual_cause(
    text: str, expected: str | None, tmp_path: Path
) -> None:
    found = [problem.replace("not YAML: ", "") for problem in problems(text, tmp_path)]
    assert found == ([] if expected is None else [expected])


def test_a_syntax_error_in_a_huge_line_is_explained_at_once(tmp_path: Path) -> None:
    (problem,) = problems("a: " + "{“" * 20 + "'[" * 200_000 + "，" * 200_000, tmp_path)
    assert "not YAML" in problem


def test_deep_nesting_is_refused_before_it_costs_anything(tmp_path: Path) -> None:
    deep = f"nested deeper than {MAX_DEPTH} levels"
    assert problems("a: " + "[" * 900, tmp_path) == [f"1:{3 + MAX_DEPTH}: {deep}"]
    (problem,) = problems("a: " + "[" * 100_000, tmp_path)  # libyaml has a limit of its own, or not
    assert problem in {f"1:{3 + MAX_DEPTH}: {deep}", f"1:1003: {deep}"}


def test_a_chain_of_aliases_is_as_deep_as_what_it_expands_to(tmp_path: Path) -> None:
    chain = "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100))
    assert "nested deeper than" in problems(f"a0: &a0 [1]\n{chain}", tmp_path)[0]


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    laughs = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
    )
    (problem,) = problems(laughs, tmp_path)
    assert "more than 1000000 values" in problem


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a: 甲\n".encode("utf-16"), "1:1: the file is UTF-16; save it as UTF-8"),
        ("a: 甲\n".encode("utf-32"), "1:1: the file is UTF-32; save it as UTF-8"),
        (
            "a: 1\n".encode("utf-16-le"),
            "1:2: a zero byte is not text; the file looks like UTF-16; save it as UTF-8",
        ),
        (
            "a: 1\nname: 网关\n".encode("gb18030"),
            "2:7: byte 0xcd is not UTF-8; the file looks like GBK (GB 18030); save it as UTF-8",
        ),
        (b"a: 1\nb: \xff\n", "2:4: byte 0xff is not UTF-8; save it as UTF-8"),
        (b"\xef\xbb\xbfb: \xff\n", "1:4: byte 0xff is not UTF-8; save it as UTF-8"),
        (b"a: 1\nb: \x00\n", "2:4: a zero byte is not text; save it as UTF-8"),
    ],
)
def test_another_encoding_is_named_with_the_place_of_the_first_byte(
    raw: bytes, expected: str, tmp_path: Path
) -> None:
    assert problems(raw, tmp_path) == [expected]


def test_a_missing_file_a_directory_and_a_huge_one_are_problems(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    for path, words in (
        (tmp_path / "none.yaml", "the file does not exist"),
        (tmp_path, "this is a directory"),
        (huge, "the file is larger than 16 MiB"),
        (Path("a\0b"), "the file cannot be read"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_document(path)
        assert words in str(caught.value)
