"""What a unit may still answer, and how that is found out."""

import copy

import pytest

from edge_agent_modbus.owed import FENCE_TRIES, LATEST_S, Fence, Owed, reply_bytes
from edge_agent_modbus.pdu import Table, read_pdu

READ = read_pdu(Table.HOLDING, 0x107, 10)
ECHO = b"\x08\0\0\0\1"
EXCEPTION = b"\x83\2"


def owing(*pdus: bytes) -> Owed:
    owed = Owed()
    for second, pdu in enumerate(pdus):
        owed.sent(pdu, float(second))
    return owed


def fences(owed: Owed, pdu: bytes = READ) -> dict[Fence, bytes]:
    """Return the fences of a unit in the order in which they are tried when none is answered."""
    asked, found = copy.deepcopy(owed), dict[Fence, bytes]()
    for _ in range(2 * len(Fence)):
        fence, request = asked.fence(pdu)
        found.setdefault(fence, request)
    return found


@pytest.mark.parametrize(
    ("pdu", "size"),
    [
        (read_pdu(Table.COIL, 0, 9), 7),
        (read_pdu(Table.DISCRETE, 0, 8), 6),
        (read_pdu(Table.HOLDING, 0, 125), 255),
        (read_pdu(Table.INPUT, 0, 1), 7),
        (b"\x06\0\0\0\1", 8),
        (b"\x16\0\0\0\1\0\0", 10),
        (b"\x2b\x0e\1\0", 0),
    ],
)
def test_sizes_of_answers(pdu: bytes, size: int) -> None:
    assert reply_bytes(pdu) == size


def test_an_answer_to_the_only_request_of_its_function_settles_everything() -> None:
    owed = owing(read_pdu(Table.INPUT, 0, 1), READ)
    owed.answered(3)
    assert not owed.has(3)
    assert not owed.has(4)


def test_one_of_two_answers_settles_what_is_older_than_both() -> None:
    owed = owing(read_pdu(Table.INPUT, 0, 1), READ, read_pdu(Table.COIL, 0, 1), READ)
    owed.answered(3)
    assert [owed.has(function) for function in (4, 3, 1)] == [False, True, True]


def test_what_is_too_old_is_forgotten_and_nothing_else() -> None:
    owed = owing(read_pdu(Table.INPUT, 0, 1), READ)
    owed.expire(LATEST_S)
    assert [owed.has(function) for function in (4, 3)] == [False, True]
    assert owed.left_s(3, LATEST_S) == 1.0
    owed.expire(LATEST_S + 1)
    assert not owed.has(3)


def test_no_fence_is_answered_as_what_is_owed() -> None:
    one, two = (read_pdu(Table.HOLDING, 0, count) for count in (1, 2))
    found = fences(owing(read_pdu(Table.INPUT, 0, 1), READ, one))
    assert found[Fence.FEWER] == READ[:3] + b"\0\2"
    assert found[Fence.INPUT] == b"\4" + READ[1:3] + b"\0\2"
    assert found[Fence.COIL] == b"\1" + READ[1:3] + b"\0\1"
    assert Fence.HOLDING not in found
    assert Fence.FEWER not in fences(owing(one), one)
    assert Fence.FEWER not in fences(owing(two, one), two)
    write = b"\x06\0\0\0\1"
    assert Fence.FEWER not in fences(owing(write), write)
    assert Fence.HOLDING in fences(owing(write), write)


def test_fewer_coils_are_fewer_bytes() -> None:
    coils = read_pdu(Table.COIL, 3, 20)
    assert fences(owing(coils, read_pdu(Table.COIL, 0, 8)), coils)[Fence.FEWER] == coils[:3] + b"\0\x09"


def test_each_echo_has_a_number_of_its_own() -> None:
    owed = owing(READ)
    requests = [request for fence, request in (owed.fence(READ) for _ in range(9000)) if fence is Fence.ECHO]
    assert len(set(requests)) == len(requests) > 1000


def test_data_settle_and_an_exception_that_may_be_owed_does_not() -> None:
    for fence, answer, is_settled in [
        (Fence.ECHO, ECHO, True),
        (Fence.ECHO, b"\x88\1", True),
        (Fence.INPUT, b"\x84\1", True),
        (Fence.FEWER, b"\x03\2\0\0", True),
        (Fence.FEWER, EXCEPTION, False),
    ]:
        owed = owing(READ, READ)
        request = fences(owed)[fence]
        owed.sent(request, 2.0)
        owed.answered(request[0])
        assert owed.held(fence, request, answer, READ) is is_settled, (fence, answer)
        assert owed.has(3) is not is_settled


def test_an_exception_to_one_of_two_echoes_settles_what_was_before_both() -> None:
    owed = owing(READ)
    for second in (1.0, 2.0):
        owed.sent(fences(owed)[Fence.ECHO], second)
    owed.answered(8)
    assert owed.held(Fence.ECHO, b"\x08\0\0\0\2", b"\x88\1", READ)
    late = owing(ECHO, READ, b"\x08\0\0\0\2")
    late.answered(8)
    assert not late.held(Fence.ECHO, b"\x08\0\0\0\2", b"\x88\1", READ)


def test_an_exception_to_one_of_two_requests_by_another_function_settles_what_is_older_and_no_more() -> None:
    owed = owing(READ)
    owed.sent(fences(owed)[Fence.INPUT], 2.0)
    owed.sent(read_pdu(Table.COIL, 0, 1), 3.0)
    request = fences(owed)[Fence.INPUT]
    owed.sent(request, 4.0)
    owed.answered(4)
    assert owed.held(Fence.INPUT, request, b"\x84\2", READ)
    assert [owed.has(function) for function in (3, 1, 4)] == [False, True, True]


def test_what_was_answered_is_tried_first_and_again() -> None:
    owed = owing(READ)
    in_order = [Fence.FEWER, Fence.ECHO, Fence.INPUT, Fence.COIL, Fence.DISCRETE]
    assert list(fences(owed)) == in_order
    assert [owed.fence(READ)[0] for _ in range(3)] == [Fence.FEWER, *in_order[:2]]
    assert owed.held(Fence.ECHO, ECHO, ECHO, READ)
    owed.sent(READ, 2.0)
    asked = [owed.fence(READ)[0] for _ in range(8)]
    assert asked == [*[Fence.ECHO] * 7, Fence.INPUT]


def test_a_fence_that_never_worked_and_puts_the_end_off_is_given_up_until_then() -> None:
    owed = owing(READ)
    asked = [owed.fence(READ)[0] for _ in range(30)]
    assert asked.count(Fence.FEWER) == FENCE_TRIES
    owed.expire(LATEST_S)
    owed.sent(READ, 20.0)
    assert Fence.FEWER in [owed.fence(READ)[0] for _ in range(30)]
