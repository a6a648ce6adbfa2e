"""Names of things. Each is made by one checking function, so that what carries the type is valid."""

import re
from typing import NewType

GatewayId = NewType("GatewayId", str)
DeviceId = NewType("DeviceId", str)
PointName = NewType("PointName", str)
PublisherId = NewType("PublisherId", str)

MAX_ID_LENGTH = 64
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?", re.ASCII)


def check_id(text: str) -> str:
    """Return ``text`` if it can name a gateway, device, point or publisher.

    An id is 1 to 64 of ``A-Z a-z 0-9 _ -``, begins with a letter or digit and does not end with ``-``:
    it is an MQTT topic level, a file name, a metric label and a JSON key, and never needs quoting.

    Raises:
        ValueError: with a message that names the first offending character.
    """
    if _ID.fullmatch(text):
        return text
    if not text:
        raise ValueError("an id must not be empty")
    if len(text) > MAX_ID_LENGTH:
        raise ValueError(f"an id has at most {MAX_ID_LENGTH} characters, this one has {len(text)}")
    for position, char in enumerate(text):
        if not re.fullmatch(r"[A-Za-z0-9_-]", char, re.ASCII):
            raise ValueError(f"{char!r} at position {position} cannot stand in an id; use A-Z a-z 0-9 _ -")
    raise ValueError("an id begins with a letter or digit and does not end with '-'")
