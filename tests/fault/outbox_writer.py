"""A process that writes into an outbox until it is killed, and says what it has done.

``python outbox_writer.py DIRECTORY FIRST``: prints ``appended N`` before, ``flushed N`` after a number is on disk,
and ``sent N`` for what the publisher leased.
"""

import asyncio
import sys
from pathlib import Path

from edge_agent.outbox.rows import Stream
from tests.model.outbox_kit import CLOUD, PLANT, batch, numbers, opened, table

TABLES = [table("press-01"), table("cnc-07"), table("meter-3")]


def say(word: str, number: int) -> None:
    sys.stdout.write(f"{word} {number}\n")
    sys.stdout.flush()


async def write(directory: Path, number: int) -> None:
    async with opened(directory, CLOUD, PLANT) as outbox:
        cursor = outbox.begin(CLOUD)
        while True:
            for of in TABLES:
                number += 1
                say("appended", number)
                await outbox.append(of, batch(of, number))
            await outbox.flush()
            say("flushed", number)
            for row in await cursor.lease(Stream.LIVE, max_rows=2, max_bytes=10_000):  # it falls behind
                say("sent", *numbers([row]))
                cursor.confirm([row.id])


asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
