"""Codes under any text."""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import MAX_HANDLE, Fault, Kind, Mode, detect, mint, parse
from edge_agent.identify.template import fill

T = TypeVar("T")
PREFIXES = st.from_regex(r"[0-9]{2}\.[0-9]{3,5}(\.[0-9]{1,20})?", fullmatch=True)
MINTED = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,126}[A-Za-z0-9])?", fullmatch=True)
LENIENT = st.from_regex(r"[^\x00-\x1f\x7f\s\ud800-\udfff]{1,200}", fullmatch=True)
MODES = st.sampled_from(["lenient", "mint"])
NEARLY = st.text(alphabet="8601./:aB-_ \n\x00é\u0301\u3000", max_size=40)


def attempt(action: Callable[[], T]) -> T | IdentifierError:
    try:
        return action()
    except IdentifierError as exc:
        return exc


@given(PREFIXES, LENIENT)
def test_any_code_of_the_grammar_is_read_and_printed_unchanged(prefix: str, suffix: str) -> None:
    code = parse(f"{prefix}/{suffix}")
    assert (code.prefix, code.suffix, str(code)) == (prefix, suffix, f"{prefix}/{suffix}")


@given(PREFIXES, MINTED)
def test_what_is_minted_is_accepted_from_others(prefix: str, suffix: str) -> None:
    assert parse(str(mint(prefix, suffix))) == mint(prefix, suffix)


@given(st.one_of(st.text(), NEARLY, st.text(st.characters(), max_size=300)), MODES)
def test_any_text_is_a_code_or_an_identifier_error_inside_the_text(text: str, mode: Mode) -> None:
    found = attempt(lambda: parse(text, mode))
    if isinstance(found, IdentifierError):
        assert found.code in set(Fault)
        assert 0 <= found.position <= len(text)
    else:
        assert str(found) == text
        assert len(text) <= MAX_HANDLE
        text.encode()


@given(st.one_of(st.text(), NEARLY))
def test_detect_never_raises_and_agrees_with_parse(text: str) -> None:
    if detect(text) is Kind.INDUSTRIAL:
        assert str(parse(text)) == text


@given(st.text(alphabet="{}ab", max_size=12), st.text(max_size=5))
def test_any_template_gives_its_text_or_an_identifier_error(template: str, value: str) -> None:
    found = attempt(lambda: fill(template, {"a": value}))
    if isinstance(found, IdentifierError):
        assert found.code in {Fault.UNKNOWN_PLACEHOLDER, Fault.BAD_TEMPLATE, Fault.BAD_SUFFIX_CHAR}
    else:
        assert found == template.replace("{a}", value)
