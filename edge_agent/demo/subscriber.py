"""An independent subscriber in a process of its own: ``python -m edge_agent.demo.subscriber HOST PORT GATEWAY``.

Counts what arrives under ``edge/v1/GATEWAY/#`` by the identity of each reading. Prints one line of JSON when it
is subscribed and one for each line that it reads; ends when its standard input closes.
"""

import logging
import sys
import threading
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.demo.child import announce
from edge_agent.demo.tally import Tally

_log = logging.getLogger("edge_agent.demo.subscriber")
_CONNECT_TIMEOUT_S = 10.0


class Subscriber:
    """One session of paho that feeds a tally; its callbacks run on paho's thread."""

    def __init__(self, gateway: str) -> None:
        self._root = f"edge/v1/{gateway}"
        self._lock = threading.Lock()
        self._tally = Tally()
        self._retained: set[str] = set()
        self.subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        # Back before the agent is, if the broker restarts: it sends what a subscriber misses to nobody.
        self._client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]  # any number will do
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def start(self, host: str, port: int) -> None:
        """Connect and subscribe; ``subscribed`` is set when the broker has granted it.

        Raises:
            OSError: nobody listens there.
        """
        self._client.connect(host, port, keepalive=30)
        self._client.loop_start()

    def report(self) -> dict[str, Any]:
        """Return what has arrived so far."""
        with self._lock:
            return self._tally.report()

    def stop(self) -> None:
        """Take the gateway's retained messages away from the broker and disconnect."""
        with self._lock:
            retained = sorted(self._retained) if self._client.is_connected() else []
        for topic in retained:
            self._client.publish(topic, b"", qos=1, retain=True).wait_for_publish(2.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        if reason.is_failure:
            _log.error("the broker refused the subscriber: %s", reason)
            return
        client.subscribe(f"{self._root}/#", qos=1)

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, _mid: int, reasons: list[Any], _properties: object
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error("the broker refused the subscription: %s", reasons)
            return
        self.subscribed.set()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        kind = message.topic.removeprefix(self._root)
        with self._lock:
            if kind.endswith("/data"):
                self._tally.take_data(message.payload)
            elif kind == "/directory" and message.payload:
                self._tally.take_directory(message.payload)
            if kind in {"/directory", "/status"}:
                self._retained.add(message.topic)


def main(host: str, port: int, gateway: str) -> None:
    """Count until the parent is gone."""
    subscriber = Subscriber(gateway)
    try:
        subscriber.start(host, port)
    except OSError as exc:
        sys.exit(f"no broker answers at {host}:{port}: {exc}")
    if not subscriber.subscribed.wait(_CONNECT_TIMEOUT_S):
        sys.exit(f"the broker at {host}:{port} gave no subscription within {_CONNECT_TIMEOUT_S:g} s")
    announce({"subscribed": True})
    for _ in sys.stdin:
        announce(subscriber.report())
    subscriber.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
