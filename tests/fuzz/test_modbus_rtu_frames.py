"""RTU frames that units send, or might: the corpus, any bytes, and some of what ``modbus_rtu_frames`` makes."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.modbus_rtu_frames import UNIT, Fuzzer, framed, honest
from tests.servers.virtual_time import run_at_once

FOLDER = Path(__file__).parents[1] / "cases/modbus/corpus/rtu"
CORPUS = {path.stem: path.read_text().splitlines() for path in sorted(FOLDER.glob("*.hex"))}
WORDS = [{"name": f"p{address}", "holding": address, "type": "uint16"} for address in range(3)]


async def read(answers: Sequence[bytes]) -> tuple[str, dict[int, set[int]]]:
    """Read three registers from a unit that says ``answers``, one for each request; return what came of it."""
    fuzzer = Fuzzer(random.Random(1), WORDS)
    await fuzzer.connect()
    left = iter(answers)

    def say(request: bytes) -> list[bytes]:
        said = next(left, b"")
        fuzzer._note(request, said)
        return [said]

    outcome = await fuzzer.read(fuzzer._requests[0], say)
    await fuzzer.close()
    return outcome, fuzzer._known


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus(name: str) -> None:
    outcome, *lines = CORPUS[name]
    assert run_at_once(read([bytes.fromhex(line) for line in lines]))[0] == outcome.removeprefix("# ")


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_any_bytes(answers: list[bytes]) -> None:
    run_at_once(read(answers))


HONEST = framed(bytes([UNIT, 3, 6, 0, 10, 0, 11, 0, 12]))


@given(st.lists(st.tuples(st.integers(0, len(HONEST) - 1), st.integers(0, 255)), max_size=4), st.booleans())
def test_an_answer_with_some_bytes_changed(changes: list[tuple[int, int]], is_checked: bool) -> None:
    answer = bytearray(HONEST)
    for position, byte in changes:
        answer[position] = byte
    said = framed(bytes(answer[:-2])) if is_checked else bytes(answer)
    outcome, known = run_at_once(read([said]))
    assert (outcome == "read") is bool(known), "an answer that is not whole was taken, or one that is was not"


@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 10, 11, 255, None]), min_size=1, max_size=12))
def test_any_exceptions_one_after_the_other(codes: list[int | None]) -> None:
    run_at_once(read([b"" if code is None else framed(bytes([UNIT, 0x83, code])) for code in codes]))


def test_the_answer_to_another_request_of_another_size_is_none() -> None:
    request = framed(bytes([UNIT, 3, 0, 0, 0, 2]))
    assert run_at_once(read([honest(request, 5)]))[0] == "unanswered"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_frames_of_all_kinds(seed: int) -> None:
    fuzzer = Fuzzer(random.Random(seed))
    run_at_once(fuzzer.run(10_000))
    assert fuzzer.outcomes.keys() == {"read", "unanswered", "exchange void"}
    assert min(fuzzer.outcomes.values()) > 300
    assert fuzzer.late > 500


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_ten_million_frames() -> None:
    run_at_once(Fuzzer(random.Random(4)).run(10_000_000))
