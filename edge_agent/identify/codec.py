"""Identifier codes as text: grammar, limits, families. Pure.

The everyday code is a handle, ``88.<second-level node>.<enterprise>/<suffix>``. It has no check digit: what can be
checked is grammar, length and whether the prefix is the own one. A suffix is kept byte for byte; nothing is
trimmed, folded or normalised.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from urllib.parse import unquote

from edge_agent.errors import IdentifierError

MAX_HANDLE = 255  # characters; the narrowest of the common nodes (SNMS)
MAX_PREFIX = 64
MAX_MINTED_SUFFIX = 128

Mode = Literal["lenient", "mint"]


class Fault(StrEnum):
    """The words that ``IdentifierError.code`` can be."""

    NO_SEPARATOR = "no_separator"
    EMPTY_PREFIX = "empty_prefix"
    BAD_PREFIX = "bad_prefix"
    EMPTY_SUFFIX = "empty_suffix"
    BAD_SUFFIX_CHAR = "bad_suffix_char"
    TOO_LONG = "too_long"
    PLACEHOLDER_PREFIX = "placeholder_prefix"
    PREFIX_NOT_OWNED = "prefix_not_owned"
    BAD_TEMPLATE = "bad_template"
    UNKNOWN_PLACEHOLDER = "unknown_placeholder"
    NOT_UNIQUE = "not_unique"
    REFUSED = "refused"  # a line of an import cannot be taken over
    SEVERAL = "several"
    LOCK_DAMAGED = "lock_damaged"
    LOCK_NEWER = "lock_newer"
    LOCK_BUSY = "lock_busy"
    LOCK_IO = "lock_io"


class Kind(StrEnum):
    """What family a text belongs to, by its shape alone."""

    INDUSTRIAL = "industrial"  # 88. and 86.: handles of the industrial internet
    HANDLE = "handle"  # any other handle, RFC 3650
    OID = "oid"
    VAA = "vaa"  # ISO/IEC 15459; recognised, never taken apart
    ECODE = "ecode"  # GB/T 31866; recognised only where it is marked as one
    GS1_DIGITAL_LINK = "gs1_digital_link"
    DID_BID = "did_bid"
    DID_CN = "did_cn"
    IRDI = "irdi"  # says what a number means, not whose it is
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Code:
    """A handle, split at its first ``/``; ``str()`` gives back exactly the text it was read from."""

    prefix: str
    suffix: str

    def __str__(self) -> str:
        return f"{self.prefix}/{self.suffix}"

    @property
    def is_nfc(self) -> bool:
        """Whether the suffix has only one Unicode spelling; if not, others may type it in other bytes."""
        return unicodedata.is_normalized("NFC", self.suffix)


_MINTED = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,126}[A-Za-z0-9])?")
_MINTED_CHAR = re.compile(r"[A-Za-z0-9._\-]")
# Half a surrogate pair has no UTF-8 bytes that could be kept, so it is no character of a suffix.
_REFUSED_CHAR = re.compile(r"[\x00-\x1f\x7f\s\ud800-\udfff]")
_SEGMENT_DIGITS = ((2, 2), (3, 5), (1, 20))  # fewest and most digits of each segment of a prefix


def parse(text: str, mode: Mode = "lenient") -> Code:
    """Split and check a handle.

    ``lenient`` is what is accepted from others: a suffix of anything but white space and control characters.
    ``mint`` is what the agent makes itself: a suffix of up to 128 of ``A-Z a-z 0-9 . _ -`` that begins and ends
    with a letter or digit, under a prefix that is not the placeholder.

    Raises:
        IdentifierError: with the position of the first offending character.
    """
    prefix, separator, suffix = text.partition("/")
    if not separator:
        raise _error(text, Fault.NO_SEPARATOR, len(text), "write prefix/suffix, such as 88.101.0042/EQ.A17")
    if not prefix:
        raise _error(text, Fault.EMPTY_PREFIX, 0, "the prefix before '/' is allocated by a second-level node")
    parse_prefix(prefix, allow_placeholder=mode == "lenient")
    code = Code(prefix, suffix)
    _check_suffix(code, mode)
    return code


def parse_prefix(text: str, *, allow_placeholder: bool = True) -> str:
    """Return ``text`` if it is a prefix: ``88.101`` of a second-level node or ``88.101.0042`` of an enterprise.

    Raises:
        IdentifierError: ``empty_prefix``, ``bad_prefix``, ``too_long`` or ``placeholder_prefix``.
    """
    if not text:
        raise _error(text, Fault.EMPTY_PREFIX, 0, "write the prefix that a second-level node allocated to you")
    if len(text) > MAX_PREFIX:
        raise _error(text, Fault.TOO_LONG, MAX_PREFIX, f"a prefix has at most {MAX_PREFIX} characters")
    segments = text.split(".")
    position = 0
    for nth, segment, (fewest, most) in zip(("first", "second", "third"), segments, _SEGMENT_DIGITS, strict=False):
        stray = re.search(r"[^0-9]", segment)
        if stray:
            hint = (
                "an index belongs before handles of identities only" if stray[0] == ":" else "digits and '.' only"
            )
            raise _error(text, Fault.BAD_PREFIX, position + stray.start(), hint)
        if not fewest <= len(segment) <= most:
            digits = f"{fewest} to {most} digits" if fewest != most else f"{fewest} digits"
            hint = f"the {nth} part of a prefix has {digits}, such as in 88.101.0042"
            raise _error(text, Fault.BAD_PREFIX, position, hint)
        position += len(segment) + 1
    if not 2 <= len(segments) <= len(_SEGMENT_DIGITS):  # noqa: PLR2004 - industry, node and perhaps enterprise
        raise _error(
            text, Fault.BAD_PREFIX, min(position, len(text)), "two or three segments, such as 88.101.0042"
        )
    if is_placeholder(text) and not allow_placeholder:
        hint = "this prefix is an example; write your own, or set allow_placeholder: true for a demonstration"
        raise _error(text, Fault.PLACEHOLDER_PREFIX, 0, hint)
    return text


def is_placeholder(prefix: str) -> bool:
    """Return whether a valid prefix is visibly nobody's: ``88.000.…``."""
    return not prefix.split(".")[1].strip("0")


def mint(prefix: str, suffix: str) -> Code:
    """Make a code of an already checked prefix and a suffix that must be strict.

    Raises:
        IdentifierError: ``empty_suffix``, ``bad_suffix_char`` or ``too_long``; positions count in the handle.
    """
    code = Code(prefix, suffix)
    _check_suffix(code, "mint")
    return code


def bad_minted_char(text: str) -> int:
    """Return the position of the first character that can stand nowhere in a minted suffix, or -1."""
    return next((i for i, char in enumerate(text) if not _MINTED_CHAR.fullmatch(char)), -1)


def _check_suffix(code: Code, mode: Mode) -> None:
    text, start, suffix = str(code), len(code.prefix) + 1, code.suffix
    if not suffix:
        raise _error(text, Fault.EMPTY_SUFFIX, start, "the suffix after '/' names the object")
    if mode == "mint" and not _MINTED.fullmatch(suffix):
        raise _not_minted(text, start, suffix)
    refused = _REFUSED_CHAR.search(suffix)
    if refused:
        hint = f"{refused[0]!r}: white space and control characters cannot stand in a suffix"
        raise _error(text, Fault.BAD_SUFFIX_CHAR, start + refused.start(), hint)
    if len(text) > MAX_HANDLE:
        raise _error(text, Fault.TOO_LONG, MAX_HANDLE, f"nodes take at most {MAX_HANDLE} characters")


def _not_minted(text: str, start: int, suffix: str) -> IdentifierError:
    position = bad_minted_char(suffix)
    if position >= 0:
        hint = f"{suffix[position]!r} cannot stand in a new code; use A-Z a-z 0-9 . _ -"
        return _error(text, Fault.BAD_SUFFIX_CHAR, start + position, hint)
    if len(suffix) > MAX_MINTED_SUFFIX:
        hint = f"a new suffix has at most {MAX_MINTED_SUFFIX} characters, this one has {len(suffix)}"
        return _error(text, Fault.TOO_LONG, start + MAX_MINTED_SUFFIX, hint)
    position = 0 if not suffix[0].isalnum() else len(suffix) - 1
    return _error(
        text, Fault.BAD_SUFFIX_CHAR, start + position, "a new suffix begins and ends with a letter or digit"
    )


def _at(shown: str, position: int) -> str:
    """Return the text and, where it helps to find the character, its place counted from 1."""
    return f"{shown!r}, character {position + 1}" if 0 < position < len(shown) else repr(shown)


def _error(text: str, fault: Fault, position: int, hint: str) -> IdentifierError:
    shown = text if len(text) <= MAX_HANDLE else text[:MAX_HANDLE] + "…"
    return IdentifierError(_at(shown, position), code=fault, position=position, hint=hint)


_GS1_82 = re.compile(r"[!\"%&'()*+,\-./0-9:;<=>?A-Z_a-z]{1,30}")  # GS1 General Specifications, figure 7.11-1
_GS1_PATH = re.compile(
    r"https?://[^/?#\s]+(?:/[^?#\s]*?)?/"
    r"(?:01/(?P<gtin>[0-9]{8}|[0-9]{12,14})(?:/22/[^/?#\s]+)?(?:/10/[^/?#\s]+)?(?:/21/[^/?#\s]+)?"
    r"|8004/(?P<giai>[^/?#\s]+))(?:\?[^#\s]*)?(?:#\S*)?"
)
_SHAPES = (
    (Kind.DID_BID, re.compile(r"did:bid:(?:[A-Za-z0-9]{4}:)?[A-Za-z0-9]{22,42}")),
    (Kind.DID_CN, re.compile(r"did:cn:[0-9]{2}\.[0-9]{3,5}(?:\.[0-9]{1,128})?")),
    (Kind.IRDI, re.compile(r"[0-9]{4}-[0-9A-Za-z]{1,35}#[0-9A-Z]{2}-[0-9A-Z]{6}#[0-9]{3}")),
    (Kind.ECODE, re.compile(r"(?i:ecode)[:=]?[0-9]{6,64}")),
    (Kind.VAA, re.compile(r"VAA0[0-9]+/[^\x00-\x1f\x7f\s]+")),
    (
        Kind.OID,
        re.compile(r"(?:[01]\.(?:[0-9]|[1-3][0-9])|2\.(?:0|[1-9][0-9]*))(?:\.(?:0|[1-9][0-9]*))*"),
    ),
    # An index before the handle (300:88.111.1/x) names an identity, a scheme (https://) a link: neither is a code.
    (Kind.HANDLE, re.compile(r"(?![0-9]+:)(?!\w+://)[^./\x00-\x20\x7f\s]+(?:\.[^./\x00-\x20\x7f\s]+)*/\S+")),
)


def detect(text: str) -> Kind:
    """Say what a scanned or typed text looks like. Never raises; a shape proves nothing else."""
    if text.startswith(("88.", "86.")):
        try:
            parse(text)
        except IdentifierError:
            pass
        else:
            return Kind.INDUSTRIAL
    link = _GS1_PATH.fullmatch(text)
    if link:
        return Kind.GS1_DIGITAL_LINK if _is_gs1(link["gtin"], link["giai"]) else Kind.UNKNOWN
    return next((kind for kind, shape in _SHAPES if shape.fullmatch(text)), Kind.UNKNOWN)


def _is_gs1(gtin: str | None, giai: str | None) -> bool:
    if gtin is not None:  # mod-10: weights 3, 1, 3, … from the right of the data digits
        return sum(int(digit) * (3 if i % 2 else 1) for i, digit in enumerate(reversed(gtin))) % 10 == 0
    return giai is not None and _GS1_82.fullmatch(unquote(giai)) is not None
