"""What a publisher says besides readings: status and health of the gateway, and where things go. Pure.

Schemas: ``schema/edge.status-1.json``, ``schema/edge.health-1.json``. ``identify`` makes the directory.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from edge_agent.publish.json_encoder import iso_time

STATUS_SCHEMA = "edge.status/1"
HEALTH_SCHEMA = "edge.health/1"


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message, always with QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Sender:
    """Who speaks.

    Attributes:
        code: identifier code of the gateway; None = none is configured, or none may be shown yet.
    """

    gateway: str
    epoch: str
    code: str | None = None


def status(topic: str, sender: Sender, *, is_online: bool, t_ns: int, version: str) -> Message:
    """Return the retained status.

    Args:
        topic: filled in already.
        sender: goes into the message.
        is_online: false = offline.
        t_ns: when the state began; in the will, which is written beforehand, when its session began.
        version: of the agent.
    """
    body = _body(STATUS_SCHEMA, sender, t_ns) | {"state": "online" if is_online else "offline", "version": version}
    return Message(topic, msgspec.json.encode(body), retain=True)


def health(topic: str, sender: Sender, *, t_ns: int, summary: Mapping[str, object]) -> Message:
    """Return the health message, not retained."""
    body = _body(HEALTH_SCHEMA, sender, t_ns) | {"health": summary}
    return Message(topic, msgspec.json.encode(body))


def directory(topic: str, body: Mapping[str, object]) -> Message:
    """Return the retained directory of identifier codes."""
    return Message(topic, msgspec.json.encode(body), retain=True)


def _body(schema: str, sender: Sender, t_ns: int) -> dict[str, object]:
    body: dict[str, object] = {"schema": schema, "gateway": sender.gateway}
    if sender.code is not None:
        body["code"] = sender.code
    return body | {"epoch": sender.epoch, "t": iso_time(t_ns // 1000)}
