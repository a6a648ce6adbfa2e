"""Structures that servers send, or might: some of what ``opcua_structures`` makes."""

import random

import pytest

from tests.fuzz.opcua_structures import StructureFuzzer


@pytest.mark.parametrize("seed", [2, 3])
def test_structures_of_all_kinds(seed: int) -> None:
    fuzzer = StructureFuzzer(random.Random(seed))
    fuzzer.run(5_000)
    assert fuzzer.outcomes["same"] > 2_000
    assert fuzzer.outcomes["void"] > 2_000
    assert fuzzer.outcomes["ambiguous"] < 20


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_three_million_structures() -> None:
    StructureFuzzer(random.Random(4)).run(3_000_000)
