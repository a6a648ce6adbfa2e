"""Secrets that are easy to find again, whatever was done to them on the way out."""

import base64
import binascii
from collections.abc import Iterator
from urllib.parse import quote


class Canary:
    """One secret: ``secret`` is what is configured; its middle survives quoting and escaping.

    ``word`` is one for where only ASCII letters may be.

    Args:
        name: of the place that holds it; tells the canaries apart.
    """

    def __init__(self, name: str) -> None:
        core = f"canary{binascii.crc32(name.encode()):08x}q"
        self.name = name
        self.word = core * 2
        self.secret = f'"{core}/+ä'
        self._needles = {core.encode()}
        for text in (core, self.secret):
            raw = text.encode()
            self._needles |= {raw, quote(text, safe="").encode(), raw.hex().encode(), raw.hex(" ").encode()}
            self._needles |= {raw.hex().upper().encode(), text.encode("utf-16-le"), repr(raw)[2:-1].encode()}
            self._needles |= set(_in_base64(raw))

    def is_in(self, hay: bytes) -> bool:
        """Return whether it can be read out of ``hay``."""
        return any(needle in hay for needle in self._needles)


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """Yield what of ``raw`` shows in Base64 however many bytes stand before it."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            whole = encode(b"\0" * before + raw)
            # What shares three bytes with a neighbour differs with it.
            yield whole[(before * 4 + 2) // 3 : (before + len(raw)) // 3 * 4]
