"""A subscriber for millions of readings: keeps the ids of the rows that came, and nothing else of them."""

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_ROW = re.compile(rb'"row":(\d+)')


@dataclass(slots=True)
class RowCounter:
    """Ids of the rows that came so far, and how many came again."""

    rows: set[int] = field(default_factory=set)
    duplicated: int = 0

    def take(self, line: bytes) -> None:
        """Take one message."""
        for match in _ROW.finditer(line):
            row = int(match[1])
            self.duplicated += row in self.rows
            self.rows.add(row)


@contextlib.contextmanager
def row_counter(port: int) -> Iterator[RowCounter]:
    """Count the rows of every data message; subscribed when the block begins, with a session that lasts."""
    command = ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-V", "5", "-q", "1", "-d"]
    command += ["-i", "counter", "-c", "-t", "edge/+/+/+/data"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    counter, is_subscribed = RowCounter(), threading.Event()

    def collect() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"Subscribed "):
                is_subscribed.set()
            counter.take(line)

    thread = threading.Thread(target=collect, name="row-counter")
    thread.start()
    try:
        assert is_subscribed.wait(10), "the subscriber did not get through"
        yield counter
    finally:
        process.terminate()
        process.wait()
        thread.join()
        if process.stdout is not None:
            process.stdout.close()
