"""What a unit on a line of RTU frames may still answer, and the requests that show that it will not. Pure.

A frame has no number, so a late answer looks like that to the next request of its function. But a server answers
its requests in their order: once one is answered for certain, nothing older comes. A *fence* is a request whose
answer cannot be taken for one that is owed.
"""

import struct
from collections import Counter
from dataclasses import dataclass
from enum import Enum

LATEST_S = 10.0
"""After its request, an answer comes no more."""

_REPLY_BYTES = {5: 8, 6: 8, 8: 8, 15: 8, 16: 8, 22: 10}  # MODBUS Application Protocol V1.1b3 §6
_READS = (3, 4, 1, 2)
_COILS = 2  # §6.1, §6.2: functions 1 and 2 read bits
_MOST_BY_OTHERS = 32  # registers or coils; more than a few are never owed
_MORE_TRIES = 6
_WORDS = struct.Struct(">BHH")


def reply_bytes(pdu: bytes) -> int:
    """Return the size of the frame that answers a request with data; 0: it depends on the answer."""
    if pdu[0] in _READS:
        count = int.from_bytes(pdu[3:5])
        return 5 + ((count + 7) // 8 if pdu[0] <= _COILS else 2 * count)
    return _REPLY_BYTES.get(pdu[0], 0)


class Fence(Enum):
    """How a unit is asked for a certain answer; the value is the function, 0: that of the request itself."""

    FEWER = 0  # the first addresses of the request, as many as nobody asked for
    ECHO = 8  # §6.8.1: function 8, sub-function 0 returns the data
    HOLDING = 3  # the first address, by another reading function
    INPUT = 4
    COIL = 1
    DISCRETE = 2


FENCE_TRIES = 3
"""In one exchange, and of one that never worked: each of these may be owed itself, and so puts the end off."""


@dataclass(slots=True)
class _Unanswered:
    """Requests of one function that may still be answered.

    Attributes:
        first_s, last_s: when the first and the last one were.
        sizes: of the frames that answer them with data.
    """

    count: int
    first_s: float
    last_s: float
    sizes: set[int]


class Owed:
    """What one unit may still answer. Outlives connections: the answers do, too."""

    def __init__(self) -> None:
        self._by_function: dict[int, _Unanswered] = {}
        self._failures: Counter[Fence] = Counter()
        self._known: set[Fence] = set()
        self._number = 0

    def has(self, function: int) -> bool:
        """Return whether an answer to a request of ``function`` may still come."""
        return function in self._by_function

    def left_s(self, function: int, now_s: float) -> float:
        """Return for how long it may."""
        return max(0.0, self._by_function[function].last_s + LATEST_S - now_s) if self.has(function) else 0.0

    def sent(self, pdu: bytes, now_s: float) -> None:
        """Note a request."""
        owed = self._by_function.setdefault(pdu[0], _Unanswered(0, now_s, now_s, set()))
        owed.count += 1
        owed.last_s = now_s
        owed.sizes.add(reply_bytes(pdu))

    def answered(self, function: int) -> None:
        """Note an answer to one of the requests of ``function``: nothing older than the first of them comes."""
        answered = self._by_function[function]
        for each, other in list(self._by_function.items()):
            if other.last_s < answered.first_s:
                del self._by_function[each]
        if answered.count == 1:  # it is to the last request of all
            self._by_function.clear()

    def expire(self, now_s: float) -> None:
        """Forget what comes no more because of its age."""
        for function in [each for each in self._by_function if self.left_s(each, now_s) <= 0]:
            del self._by_function[function]
            self._failures[Fence.FEWER] = min(self._failures[Fence.FEWER], FENCE_TRIES - 1)  # another chance

    def fence(self, pdu: bytes) -> tuple[Fence, bytes]:
        """Return what shows best that no answer is owed that could be taken for that to ``pdu``.

        It counts as asked for in vain until it ``held``. The one that was so the least often in a row comes first.
        One that ever held gets some tries more, for noise may have had them, and fewer addresses get one more: the
        unit is known to answer the function.
        """
        self._number = self._number % 0xFFFF + 1
        found = {}
        fewer = self._fresh(pdu[0], pdu[1:3], int.from_bytes(pdu[3:5])) if pdu[0] in _READS else None
        if fewer is not None and (Fence.FEWER in self._known or self._failures[Fence.FEWER] < FENCE_TRIES):
            found[Fence.FEWER] = fewer
        found[Fence.ECHO] = _WORDS.pack(Fence.ECHO.value, 0, self._number)
        for fence in (Fence.HOLDING, Fence.INPUT, Fence.COIL, Fence.DISCRETE):
            other = self._fresh(fence.value, pdu[1:3], _MOST_BY_OTHERS)
            if fence.value != pdu[0] and other is not None:
                found[fence] = other
        best = min(found, key=self._failed)
        self._failures[best] += 1
        return best, found[best]

    def held(self, fence: Fence, request: bytes, answer: bytes, pdu: bytes) -> bool:
        """Take the answer to a fence; return whether the answer to ``pdu`` will be certain.

        Data are the answer to this very request: nothing that is owed has their size or number. An exception has
        done what ``answered`` says.
        """
        if answer[0] == request[0]:
            self._by_function.clear()
        if self.has(pdu[0]):
            return False
        self._failures[fence] = 0
        self._known.add(fence)
        return True

    def _failed(self, fence: Fence) -> int:
        return self._failures[fence] - (_MORE_TRIES if fence in self._known else fence is Fence.FEWER)

    def _fresh(self, function: int, address: bytes, end: int) -> bytes | None:
        """Return a request for as few as possible, less than ``end``, whose answer has a size that is not owed."""
        sizes = self._by_function[function].sizes if self.has(function) else set[int]()
        for count in range(1, end):
            request = bytes([function]) + address + count.to_bytes(2)
            if reply_bytes(request) not in sizes:
                return request
        return None


class Debts(dict[int, Owed]):
    """What the units on a line owe, by number; whoever opens the line again goes on with them.

    Attributes:
        has_echo: the adapter hands back what is sent.
    """

    has_echo = False
