"""Frames that devices send, or might: the corpus, and some of what ``modbus_frames`` makes."""

import random
from pathlib import Path

import pytest

from tests.fuzz.modbus_frames import Fuzzer

FOLDER = Path(__file__).parents[1] / "cases/modbus/corpus"
CORPUS = {path.stem: path.read_text().splitlines() for path in sorted(FOLDER.glob("*.hex"))}


@pytest.mark.parametrize("name", CORPUS)
async def test_the_corpus(name: str) -> None:
    outcome, *lines = CORPUS[name]
    frames = iter([bytes.fromhex(line) for line in lines])
    words = [{"name": f"p{address}", "holding": address, "type": "uint16"} for address in range(3)]
    fuzzer = Fuzzer(random.Random(1), words)
    await fuzzer.connect()
    try:
        assert fuzzer.read(lambda _request: next(frames, b"")) in outcome.removeprefix("# ").split(" | ")
    finally:
        await fuzzer.close()


@pytest.mark.parametrize("seed", [2, 3])
async def test_frames_of_all_kinds(seed: int) -> None:
    fuzzer = Fuzzer(random.Random(seed))
    await fuzzer.run(10_000)
    assert fuzzer.outcomes.keys() == {"read", "unanswered", "exchange void", "connection given up"}
    assert min(fuzzer.outcomes.values()) > 500


@pytest.mark.nightly
@pytest.mark.timeout(3600)
async def test_ten_million_frames() -> None:
    await Fuzzer(random.Random(4)).run(10_000_000)
