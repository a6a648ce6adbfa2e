"""Takes out of a text what may be a secret, for files that go to strangers. Pure.

A configuration that loads holds none, for there they are named and not written. What a person noted in a comment
or a label, this finds by the word before it; it takes too much rather than too little.
"""

import re

_WORD = r"[\w.-]*(?:passw|passphrase|secret|token|credential|api_?key|private|pwd|口令|密码|密钥)[\w.-]*"
_NAMED = re.compile(rf"(?i)((?:{_WORD})[\"']?\s*[:=：]\s*)(?!\s*!(?:env|file|credential)\b)(\S.*)")
_IN_URL = re.compile(r"(//)[^/\s@]+(@)")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_STARS = "***"


def redact(text: str) -> str:
    """Return ``text`` with stars for what follows a telling word in its line, logins in addresses, and keys."""
    text = _PEM.sub(_STARS, text)
    text = _IN_URL.sub(rf"\1{_STARS}\2", text)
    return _NAMED.sub(rf"\1{_STARS}", text)
