from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent_opcua.config import OpcUaDevice
from edge_agent_opcua.plan import Item
from edge_agent_opcua.profiles import PROFILES, detect, excess
from edge_agent_opcua.revisions import Revisions, clocks_apart


@pytest.mark.parametrize(
    ("manufacturer", "product", "profile"),
    [
        ("Siemens AG", "S7-1500", "s7-1500"),
        ("Siemens AG", "SIMATIC S7-1200", "s7-1200"),
        ("Siemens AG", "SINUMERIK", "sinumerik-840d"),
        ("PTC", "KEPServerEX", "kepware"),
        ("NodeOPCUA : MIT Licence", "NodeOPCUA-Server", "node-opcua"),
        ("Maker", "Thing 1200", "standard"),
        ("None", "None", "standard"),
    ],
)
def test_a_server_is_known_by_the_name_that_it_gives(manufacturer: str, product: str, profile: str) -> None:
    assert detect(manufacturer, product) == profile


def test_every_profile_says_where_it_is_from() -> None:
    assert all(profile.source for profile in PROFILES.values())


def test_an_unknown_profile_is_refused_with_the_nearest() -> None:
    written: dict[str, Any] = {"id": "a", "driver": "opcua", "url": "opc.tcp://a", "profile": "s7-150"}
    with pytest.raises(ValidationError, match="did you mean 's7-1500'"):
        OpcUaDevice.model_validate(written | {"points": [{"name": "a", "node": "i=1"}]})


def test_what_the_server_does_otherwise_is_told_in_groups() -> None:
    revisions = Revisions([f"p{i}" for i in range(20)])
    revisions.published(0.1, 0.1)
    revisions.published(0.05, 0.2)
    for point in range(8):
        revisions.item(Item(point, 0.1, 10), 0.25, 10)
    revisions.item(Item(8, 0.1, 10), 0.1, 4)
    revisions.item(Item(9, 0.0, 10), 0.0, 0)
    revisions.unfiltered([11, 10])
    assert revisions.remarks() == (
        "the server publishes each 200ms, not each 50ms",
        "the server samples more slowly than asked (each 250ms, not each 100ms): p0, p1, p2, p3, p4 and 3 more",
        "the server keeps fewer samples than asked; faster changes are lost there (4, not 10): p8",
        "the server has no such deadband or trigger and reports every change: p10, p11",
    )


def test_a_server_that_does_as_asked_is_not_spoken_of() -> None:
    revisions = Revisions(["a"])
    revisions.published(1.0, 1.0)
    revisions.item(Item(0, 0.1, 2), 0.1, 2)
    assert revisions.remarks() == ()


def test_more_than_a_model_takes_is_told() -> None:
    assert excess(PROFILES["s7-1200"], 1001, 1e6) == (
        "1001 points are to be reported; such a server reports 1000 at the most",
    )
    assert excess(PROFILES["sinumerik-828d"], 10_000, 501.0) == (
        "501 samples a second are asked for; such a server takes 500: write longer sampling intervals",
    )
    assert excess(PROFILES["s7-1200"], 1000, 1e6) == excess(PROFILES["standard"], 10**6, 1e6) == ()


@pytest.mark.parametrize(
    ("ahead_s", "about"),
    [
        (2.1, "more than 2s ahead of"),
        (-10, "more than 2s behind"),
        (-10.1, "more than 10s behind"),
        (61, "more than 1min ahead of"),
        (601, "more than 10min ahead of"),
        (1799, "more than 10min ahead of"),
        (1800, "about 1 h ahead of"),
        (-28_799, "about 8 h behind"),
        (28_801, "about 8 h ahead of"),
        (84_599, "about 23 h ahead of"),
        (84_600, "a day or more ahead of"),
        (-1e9, "a day or more behind"),
    ],
)
def test_clocks_that_differ_are_told_coarsely(ahead_s: float, about: str) -> None:
    assert clocks_apart(ahead_s) == (f"the server's clock is {about} ours; its readings carry its times",)


@pytest.mark.parametrize("ahead_s", [0, 2, -2])
def test_clocks_that_an_answer_may_take_apart_are_not_told_of(ahead_s: float) -> None:
    assert clocks_apart(ahead_s) == ()
