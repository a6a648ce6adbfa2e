"""What libyaml found, in the words of someone who edits the file: where it begins, and its usual cause."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import yaml

MAX_LOOKED_AT = 1000  # characters of a line: the expressions below are not linear
_FULL_WIDTH_COLON = re.compile(r"(?:^[\s-]*|[{,，]\s*)[\"“]?[\w.-]+[\"”]?\s*(：)")
_FULL_WIDTH_COMMA = re.compile(r"[{\[].*?(，)\s*[\"“]?[\w.-]+[\"”]?\s*[:：]")
_NO_SPACE = re.compile(r"^[\s-]*[\w.-]+(:)[^\s:/]")
_WORD_ALONE = re.compile(r"^[\s-]*[\w.-]+\s*$")
_QUOTED_OR_COMMENT = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|(?:^|(?<=\s))#.*")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A syntax error: 1-based place, and what to do."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there is to judge by. Lines and columns are 0-based, as libyaml's.

    Attributes:
        lines: the file's.
        before: the last line above that is not empty.
    """

    lines: list[str]
    what: str
    line: int
    column: int
    inside: str
    start_line: int
    start_column: int

    @property
    def before(self) -> int:
        return next((i for i in range(min(self.line, len(self.lines)) - 1, -1, -1) if self.text(i).strip()), 0)

    @property
    def is_first_in_line(self) -> bool:
        return not self.text(self.line)[: self.column].strip()

    def text(self, line: int) -> str:
        """Return a line without comments and quoted texts, which prove nothing; columns are as in the file."""
        written = self.lines[line][:MAX_LOOKED_AT] if line < len(self.lines) else ""
        return _QUOTED_OR_COMMENT.sub(lambda found: " " * len(found[0]), written)


def explain(error: yaml.MarkedYAMLError, text: str) -> Trouble:
    """Return where ``error`` begins and what its usual cause is; libyaml's own words where none is known."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    start = error.context_mark
    lines = text.splitlines()
    if line < len(lines) and "\t" in lines[line][: column + 2]:
        return Trouble(line + 1, column + 1, "a tab cannot indent; use spaces")
    seen = _Seen(
        lines,
        error.problem or "this is not YAML",
        line,
        column,
        error.context or "",
        start.line if start else line,
        start.column if start else column,
    )
    found = _full_width(seen) or _by_what_libyaml_says(seen)
    if found is not None:
        return found
    message = seen.what
    if error.context and start:
        message += f" {error.context} (which starts in line {start.line + 1}, column {start.column + 1})"
    return Trouble(line + 1, column + 1, message)


def _full_width(seen: _Seen) -> Trouble | None:
    """Return the first ``：`` or ``，`` that was meant as ``: `` or ``, `` near the error."""
    for line in dict.fromkeys((seen.start_line if "flow" in seen.inside else seen.before, seen.before, seen.line)):
        for pattern, name, instead in (
            (_FULL_WIDTH_COLON, "colon '：'", "':' and a space"),
            (_FULL_WIDTH_COMMA, "comma '，'", "','"),
        ):
            found = pattern.search(seen.text(line))
            if found:
                return Trouble(line + 1, found.start(1) + 1, f"a full-width {name} means nothing; write {instead}")
    return None


def _by_what_libyaml_says(seen: _Seen) -> Trouble | None:
    explain_it = next((function for words, function in _CAUSES.items() if words in seen.what), None)
    return explain_it(seen) if explain_it else None


def _second_value(seen: _Seen) -> Trouble:
    """Explain a ``:`` after something that is already a value: of this line, or of the one before."""
    text, before = seen.text(seen.line), seen.text(seen.before)
    if re.search(r":\s", text[: seen.column]):
        return Trouble(
            seen.line + 1, seen.column + 1, "a second ': ' in one line; put a value that holds ': ' in quotes"
        )
    if _NO_SPACE.search(before) or _WORD_ALONE.search(before):
        return _no_key_in(seen, seen.before)
    column = len(text) - len(text.lstrip())
    message = f"wrong indentation: line {seen.before + 1} already has its value, so nothing can stand below it"
    return Trouble(seen.line + 1, column + 1, message)


def _no_key(seen: _Seen) -> Trouble:
    return _no_key_in(seen, seen.start_line)


def _no_key_in(seen: _Seen, line: int) -> Trouble:
    """Explain a line that should be ``key: value`` and is not."""
    text = seen.text(line)
    glued = _NO_SPACE.search(text)
    if glued:
        return Trouble(line + 1, glued.start(1) + 1, "a space is missing after ':'")
    column = len(text) - len(text.lstrip())
    return Trouble(line + 1, column + 1, "no ': ' in this line; write key: value, or check the indentation")


def _misplaced(seen: _Seen) -> Trouble:
    """Explain what stands neither among the keys or entries around it nor inside one of them."""
    line, column = seen.line + 1, seen.column + 1
    if not seen.is_first_in_line:
        return Trouble(line, column, "nothing can stand behind the quote or bracket that closes before this")
    group = "list" if "-" in seen.what else "mapping"
    if seen.column == seen.start_column:
        what = "this key stands among list entries" if group == "list" else "this stands among keys and is none"
        return Trouble(line, column, f"{what}; check the indentation")
    where = f"the {group} around it begins in line {seen.start_line + 1}, column {seen.start_column + 1}"
    return Trouble(line, column, f"wrong indentation: this is in line with nothing above; {where}")


def _unclosed(seen: _Seen) -> Trouble:
    wanted = seen.what.rpartition("expected ")[2]
    if seen.line == seen.start_line:
        return Trouble(seen.line + 1, seen.column + 1, f"{wanted} is missing before this")
    message = f"this is not closed: {wanted} is missing before line {seen.line + 1}, column {seen.column + 1}"
    return Trouble(seen.start_line + 1, seen.start_column + 1, message)


def _endless_quote(seen: _Seen) -> Trouble:
    return Trouble(seen.start_line + 1, seen.start_column + 1, "the quote that begins here is never closed")


def _backslash(seen: _Seen) -> Trouble:
    message = "a backslash has a meaning inside \"…\"; write '…' around this text instead"
    return Trouble(seen.line + 1, seen.column + 1, message)


def _reserved(seen: _Seen) -> Trouble:
    character = seen.lines[seen.line][seen.column : seen.column + 1]
    return Trouble(seen.line + 1, seen.column + 1, f"a value cannot begin with {character!r}; put it in quotes")


def _entry_behind_key(seen: _Seen) -> Trouble:
    return Trouble(seen.line + 1, seen.column + 1, "'- ' begins a list entry; it needs a line of its own")


_CAUSES: dict[str, Callable[[_Seen], Trouble]] = {
    "mapping values are not allowed": _second_value,
    "could not find expected ':'": _no_key,
    "did not find expected key": _misplaced,
    "did not find expected '-' indicator": _misplaced,
    "did not find expected ',' or": _unclosed,
    "found unexpected end of stream": _endless_quote,
    "found unknown escape character": _backslash,
    "found character that cannot start any token": _reserved,
    "block sequence entries are not allowed": _entry_behind_key,
}
"""Words of libyaml → who explains them."""
