"""What a value costs to decode, ours beside asyncua's: ``python -m tests.bench.opcua_decode``.

One DataChangeNotification of 5,000 items, each with status, source and server time; the best of 20 rounds.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary

from edge_agent_opcua.decode import Decoder

COUNT, ROUNDS = 5000, 20
Kind = ua.VariantType
KINDS: dict[str, list[Callable[[int], Any]]] = {
    "Double": [lambda i: ua.Variant(i / 2, Kind.Double)],
    "Double and Boolean, in turn": [
        lambda i: ua.Variant(i / 2, Kind.Double),
        lambda i: ua.Variant(i % 3 == 0, Kind.Boolean),
    ],
    "Double, Boolean, Int32 and String, in turn": [
        lambda i: ua.Variant(i / 2, Kind.Double),
        lambda i: ua.Variant(i % 3 == 0, Kind.Boolean),
        lambda i: ua.Variant(i, Kind.Int32),
        lambda i: ua.Variant(f"O{i}", Kind.String),
    ],
    "String": [lambda i: ua.Variant(f"O{i}", Kind.String)],
    "array of 10 Double": [lambda i: ua.Variant([i / 2] * 10, Kind.Double)],
}


def _body(kinds: list[Callable[[int], Any]]) -> bytes:
    now = datetime.now(UTC)
    items = [
        ua.MonitoredItemNotification(
            i, ua.DataValue(kinds[i % len(kinds)](i), ua.StatusCode(), SourceTimestamp=now, ServerTimestamp=now)
        )
        for i in range(COUNT)
    ]
    return bytes(ua_binary.struct_to_binary(ua.DataChangeNotification(MonitoredItems=items)))


def _best_us(call: Callable[[], object]) -> float:
    rounds = []
    for _ in range(ROUNDS):
        begin_s = time.perf_counter()
        call()
        rounds.append(time.perf_counter() - begin_s)
    return min(rounds) * 1e6 / COUNT


def main() -> None:
    reported = frozenset(range(COUNT))
    for name, kinds in KINDS.items():
        body, decoder = _body(kinds), Decoder()
        ours_us = _best_us(lambda: decoder.changes(time.time_ns(), [body], reported))  # noqa: B023 - called at once
        theirs_us = _best_us(
            lambda: ua_binary.struct_from_binary(ua.DataChangeNotification, Buffer(body))  # noqa: B023
        )
        print(f"{name:45} {ours_us:5.2f} µs a value, asyncua {theirs_us:5.2f}")


if __name__ == "__main__":
    main()
