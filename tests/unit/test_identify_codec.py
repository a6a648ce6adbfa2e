"""Codes as text: the grammar, and every example of the reference."""

import pytest

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Code, Fault, Kind, Mode, detect, mint, parse, parse_prefix

REAL = [
    "88.709.911/123",
    "88.1021.150/xx002",
    "88.101.0042/001",
    "88.608.24061301/App_scxt0716",
    "88.608.8899/META_zj02",
    "88.111.1/0.0",
    "88.802.1/88.802.1",
    "86.709.612/cc1",
    "86.100.12/00121336401058520109",
]


@pytest.mark.parametrize("text", REAL)
def test_real_codes_are_accepted_in_both_modes_and_come_back_byte_for_byte(text: str) -> None:
    assert str(parse(text)) == str(parse(text, "mint")) == text
    assert detect(text) is Kind.INDUSTRIAL


def test_leading_zeros_of_a_suffix_are_kept() -> None:
    assert parse("88.101.0042/001") == Code("88.101.0042", "001")


def test_the_first_slash_splits_and_others_belong_to_the_suffix() -> None:
    assert parse("88.101.1/a/b/c") == Code("88.101.1", "a/b/c")


@pytest.mark.parametrize(
    ("text", "mode", "fault", "position"),
    [
        ("", "lenient", Fault.NO_SEPARATOR, 0),
        ("88.101.0042", "lenient", Fault.NO_SEPARATOR, 11),
        ("/x", "lenient", Fault.EMPTY_PREFIX, 0),
        ("88/x", "lenient", Fault.BAD_PREFIX, 2),
        ("8.101/x", "lenient", Fault.BAD_PREFIX, 0),
        ("88.10/x", "lenient", Fault.BAD_PREFIX, 3),
        ("88.101./x", "lenient", Fault.BAD_PREFIX, 7),
        ("88.101.1.2/x", "lenient", Fault.BAD_PREFIX, 9),
        ("88.101.12a/x", "lenient", Fault.BAD_PREFIX, 9),
        ("88.101.\u0661/x", "lenient", Fault.BAD_PREFIX, 7),  # a digit, but not of ours
        ("88.101.123456789012345678901/x", "lenient", Fault.BAD_PREFIX, 7),
        ("300:88.111.1/test", "lenient", Fault.BAD_PREFIX, 3),
        ("88.101." + "1" * 60 + "/x", "lenient", Fault.TOO_LONG, 64),
        ("88.101.1/", "lenient", Fault.EMPTY_SUFFIX, 9),
        ("88.101.1/a b", "lenient", Fault.BAD_SUFFIX_CHAR, 10),
        ("88.101.1/a\u3000b", "lenient", Fault.BAD_SUFFIX_CHAR, 10),
        ("88.101.1/a\x00", "lenient", Fault.BAD_SUFFIX_CHAR, 10),
        ("88.101.1/x\n", "lenient", Fault.BAD_SUFFIX_CHAR, 10),
        ("88.101.1/a\ud800", "lenient", Fault.BAD_SUFFIX_CHAR, 10),
        ("88.101.1/" + "x" * 247, "lenient", Fault.TOO_LONG, 255),
        ("88.101.1/x\n", "mint", Fault.BAD_SUFFIX_CHAR, 10),
        ("88.101.1/设备", "mint", Fault.BAD_SUFFIX_CHAR, 9),
        ("88.101.1/a/b", "mint", Fault.BAD_SUFFIX_CHAR, 10),
        ("88.101.1/.a", "mint", Fault.BAD_SUFFIX_CHAR, 9),
        ("88.101.1/a_", "mint", Fault.BAD_SUFFIX_CHAR, 10),
        ("88.101.1/" + "x" * 129, "mint", Fault.TOO_LONG, 137),
        ("88.000.1/x", "mint", Fault.PLACEHOLDER_PREFIX, 0),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, mode: Mode, fault: Fault, position: int) -> None:
    with pytest.raises(IdentifierError) as caught:
        parse(text, mode)
    assert (caught.value.code, caught.value.position) == (fault, position)
    assert caught.value.hint in str(caught.value)
    assert caught.value.hint


def test_limits_are_inclusive() -> None:
    assert parse("88.101.1/" + "x" * 246)
    assert mint("88.101.1", "x" * 128)
    assert parse_prefix("88.10100." + "1" * 20)


def test_others_may_use_characters_that_are_not_minted() -> None:
    assert parse("88.101.1/设备:1#a").suffix == "设备:1#a"


def test_a_suffix_that_has_another_unicode_spelling_is_kept_and_marked() -> None:
    decomposed = parse("88.101.1/e\u0301")
    assert decomposed.suffix == "e\u0301"
    assert not decomposed.is_nfc
    assert parse("88.101.1/\u00e9").is_nfc


def test_the_prefix_of_a_second_level_node_has_two_segments() -> None:
    assert parse_prefix("88.529") == "88.529"


def test_a_placeholder_is_read_from_others_and_made_only_where_allowed() -> None:
    assert parse("88.000.1/x").prefix == "88.000.1"
    assert parse_prefix("88.000.1") == "88.000.1"
    with pytest.raises(IdentifierError, match="allow_placeholder") as caught:
        parse_prefix("88.000.1", allow_placeholder=False)
    assert caught.value.code == "placeholder_prefix"


def test_an_error_about_a_huge_text_stays_short() -> None:
    with pytest.raises(IdentifierError) as caught:
        parse("x" * 100_000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("88.529/x", Kind.INDUSTRIAL),
        ("88.000.1/x", Kind.INDUSTRIAL),
        ("10.1000/182", Kind.HANDLE),
        ("20.500.12345/abc", Kind.HANDLE),
        ("88.1/x", Kind.HANDLE),
        ("1.2.156.10197.1.401", Kind.OID),
        ("2.999.1", Kind.OID),
        ("1.40.1", Kind.UNKNOWN),
        ("1.2.0156", Kind.UNKNOWN),
        ("VAA0156123/000123", Kind.VAA),
        ("ecode:10064012345678", Kind.ECODE),
        ("10064012345678", Kind.UNKNOWN),  # bare digits could be anything
        ("https://id.example.com/01/09520123456788", Kind.GS1_DIGITAL_LINK),
        ("https://example.com/shop/01/09520123456788/22/2A/10/ABC/21/123?17=271231", Kind.GS1_DIGITAL_LINK),
        ("https://example.com/01/09520123456789", Kind.UNKNOWN),  # check digit
        ("https://example.com/01/09520123456788/21/123/10/ABC", Kind.UNKNOWN),  # path order
        ("https://example.com/8004/952012345%2F78", Kind.GS1_DIGITAL_LINK),
        ("https://example.com/8004/" + "1" * 31, Kind.UNKNOWN),
        ("https://example.com/about", Kind.UNKNOWN),
        ("did:bid:ef24NBA7au48UTZrUNRHj2p3bnRzF3YCH", Kind.DID_BID),
        ("did:bid:by01:ef24NBA7au48UTZrUNRHj2p3bnRzF3YCH", Kind.DID_BID),
        ("did:cn:88.100.1", Kind.DID_CN),
        ("0173-1#02-AAO677#002", Kind.IRDI),
        ("300:88.111.1/test", Kind.UNKNOWN),  # an identity
        ("88.101.1/a b", Kind.UNKNOWN),
        ("press-01", Kind.UNKNOWN),
        ("", Kind.UNKNOWN),
    ],
)
def test_families_are_told_apart_by_shape(text: str, kind: Kind) -> None:
    assert detect(text) is kind


@pytest.mark.parametrize("prefix", ["88.101", "88.101.0042", "86.709.612", "86.10000.1"])
def test_handles_of_the_industrial_internet_begin_with_88_or_86(prefix: str) -> None:
    assert parse_prefix(prefix) == prefix


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("88.000.1/a", "'88.000.1': this prefix is an example; write your own, or set allow_placeholder: true"),
        ("8.101/a", "'8.101': the first part of a prefix has 2 digits"),
        ("88.10.1/a", "'88.10.1', character 4: the second part of a prefix has 3 to 5 digits"),
        ("88.101/a b", "'88.101/a b', character 9: ' ' cannot stand in a new code"),
        ("EQ.a", "'EQ.a': write prefix/suffix, such as 88.101.0042/EQ.A17"),
    ],
)
def test_a_message_is_for_people_and_the_word_for_programs_stays_on_the_error(text: str, message: str) -> None:
    with pytest.raises(IdentifierError) as refused:
        parse(text, "mint")
    assert str(refused.value).startswith(message)
    assert refused.value.code
    assert refused.value.code not in str(refused.value)
