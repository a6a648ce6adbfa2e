"""A subscriber that shares no code with the agent: mosquitto_sub in a process of its own."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came."""

    topic: str
    payload: bytes
    is_retained: bool

    def json(self) -> Any:
        """Return the payload as JSON."""
        return json.loads(self.payload)


@dataclass(slots=True)
class Subscriber:
    """What came so far."""

    messages: list[Received] = field(default_factory=list)

    def on(self, ending: str) -> list[Received]:
        """Return the messages whose topic ends so."""
        return [message for message in list(self.messages) if message.topic.endswith(ending)]


@contextlib.contextmanager
def subscriber(port: int, *, topic: str = "edge/#", arguments: Sequence[str] = ()) -> Iterator[Subscriber]:
    """Collect every message on ``topic`` until the block ends; it is subscribed when the block begins."""
    command = ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-V", "5", "-q", "1"]
    command += ["-d", "-t", topic, "-F", "%r %t %x", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    received = Subscriber()
    is_subscribed = threading.Event()

    def collect() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Subscribed "):
                is_subscribed.set()
            parts = line.split()
            if len(parts) == 3 and parts[0] in {"0", "1"}:
                received.messages.append(Received(parts[1], bytes.fromhex(parts[2]), parts[0] == "1"))

    thread = threading.Thread(target=collect, name="subscriber")
    thread.start()
    try:
        assert is_subscribed.wait(10), "the subscriber did not get through"
        yield received
    finally:
        process.kill()
        process.wait()
        thread.join()
        if process.stdout is not None:
            process.stdout.close()
