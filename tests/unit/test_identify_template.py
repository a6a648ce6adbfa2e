"""Templates: what cannot stand in a code is refused, never replaced."""

import pytest

from edge_agent.errors import IdentifierError
from edge_agent.identify.codec import Fault
from edge_agent.identify.template import fill, fill_suffix

VALUES = {"gateway": "gw-01", "device": "press-01", "asset": "A 17", "line": "", "serial": "SN.1"}


def test_placeholders_are_filled_in() -> None:
    assert fill("EQ.{device}.{serial}-{device}", VALUES) == "EQ.press-01.SN.1-press-01"


def test_a_template_without_placeholders_stands_for_itself() -> None:
    assert fill("GW.A1B2", VALUES) == "GW.A1B2"


@pytest.mark.parametrize(
    ("template", "fault", "position", "hint"),
    [
        ("EQ.{devise}", Fault.UNKNOWN_PLACEHOLDER, 3, "{gateway}, {device}, {asset}, {line}, {serial}"),
        ("EQ.{}", Fault.UNKNOWN_PLACEHOLDER, 3, "{gateway}"),
        ("EQ.{device", Fault.BAD_TEMPLATE, 3, "{device}"),
        ("EQ.device}", Fault.BAD_TEMPLATE, 9, "{device}"),
        ("EQ.{asset}", Fault.BAD_SUFFIX_CHAR, 3, "' ' in 'A 17'"),
        ("EQ.{line}", Fault.BAD_SUFFIX_CHAR, 3, "empty"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(template: str, fault: Fault, position: int, hint: str) -> None:
    with pytest.raises(IdentifierError) as caught:
        fill(template, VALUES)
    assert (caught.value.code, caught.value.position) == (fault, position)
    assert hint in caught.value.hint


def test_the_text_of_a_suffix_template_must_be_able_to_stand_in_a_code() -> None:
    assert fill("edge/v1/{device}", VALUES) == "edge/v1/press-01"
    with pytest.raises(IdentifierError, match="'设'") as caught:
        fill_suffix("{device}.设备", VALUES)
    assert (caught.value.code, caught.value.position) == (Fault.BAD_TEMPLATE, 9)
    assert fill_suffix("EQ.{device}", VALUES) == "EQ.press-01"
