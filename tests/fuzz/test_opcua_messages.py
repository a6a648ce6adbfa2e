"""Messages that servers send, or might: the corpus, and some of what ``opcua_messages`` makes."""

import random
from pathlib import Path

import pytest

from tests.fuzz.opcua_messages import Fuzzer, compared

FOLDER = Path(__file__).parents[1] / "cases/opcua/corpus"
CORPUS = {path.stem: path.read_text().splitlines() for path in sorted(FOLDER.glob("*.hex"))}


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus(name: str) -> None:
    outcome, kind, message = CORPUS[name]
    assert compared(kind.removeprefix("# "), bytes.fromhex(message)) == outcome.removeprefix("# ")


@pytest.mark.parametrize("seed", [2, 3])
def test_messages_of_all_kinds(seed: int) -> None:
    fuzzer = Fuzzer(random.Random(seed))
    fuzzer.run(4_000)
    assert fuzzer.outcomes.keys() == {"same", "void", "asyncua fails", "asyncua has no say"}
    assert fuzzer.outcomes["same"] > 1_500
    assert fuzzer.outcomes["void"] > 1_000


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_ten_million_messages() -> None:
    Fuzzer(random.Random(4)).run(10_000_000)
