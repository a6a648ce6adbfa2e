"""The entries of the audit log, and whether they are still as they were written. Pure.

An entry is one line of JSON. Its ``hash`` is the SHA-256 of the canonical form of the rest: keys sorted, no
spaces, UTF-8. ``prev`` is the hash of the entry before, so that nothing in between can be changed, removed or
moved without the next hash being wrong. Only without its end a chain is still sound: so the head is told outside.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
PRUNED = "audit.pruned"
"""The act of deleting the oldest file: its ``about`` says through which entry, and that one's hash."""
MENDED = "audit.mended"
"""The act of cutting off what a power cut left of an entry: its ``about`` has what was there."""
SHORTENED = "audit.shortened"
"""A running agent found entries gone that it knew of: its ``about`` has the last one of them."""

SUDO_HEADER = "Edge-Agent-Sudo-User"
"""With it a command over the control socket says who became root for it; percent-encoded."""

_KEYS = frozenset({"seq", "time", "act", "outcome", "uid", "pid", "sudo_user", "about", "prev", "hash"})


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain. Written ``sequence:hash``."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Return what ``str`` wrote.

        Raises:
            ValueError: something else did.
        """
        seq, _, digest = text.partition(":")
        if not seq.isdecimal() or len(digest) != len(GENESIS) or set(digest) - set("0123456789abcdef"):
            raise ValueError("write SEQUENCE:HASH, as /status and the health message tell it")
        return cls(int(seq), digest)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it.

    Attributes:
        uid, pid: of the process that asked.
        sudo_user: who became root for it, as sudo says; a root that wants to can say anything here.
    """

    uid: int
    pid: int
    sudo_user: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        seq: 1, 2, 3, …
        time: UTC, ISO 8601.
        outcome: ``begun``, then ``done`` or ``failed``; with neither, nobody knows.
    """

    seq: int
    time: str
    act: str
    outcome: str
    actor: Actor
    about: Mapping[str, Any]
    prev: str
    hash: str

    @property
    def head(self) -> Head:
        """The end of the chain as long as this is the last entry."""
        return Head(self.seq, self.hash)


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the chain does not hold. ``place``: file and line, or the end."""

    place: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the log.

    Attributes:
        first: sequence of the oldest entry; 0 without entries.
        head: of the newest one.
        entries: how many were read.
        mended: how many torn ends were cut off, each told by an entry.
        ends_torn: a power cut left part of an entry at the end; what it was to tell did not begin.
    """

    first: int
    head: Head
    entries: int
    mended: int
    ends_torn: bool
    breaks: tuple[Break, ...]


def seal(before: Head, time: str, act: str, outcome: str, actor: Actor, about: Mapping[str, Any]) -> bytes:
    """Return the entry behind ``before`` as it is written, line break included."""
    body: dict[str, Any] = {
        "seq": before.seq + 1,
        "time": time,
        "act": act,
        "outcome": outcome,
        "uid": actor.uid,
        "pid": actor.pid,
        "sudo_user": actor.sudo_user,
        "about": dict(about),
        "prev": before.hash,
    }
    return _canonical(body | {"hash": _digest(body)}) + b"\n"


def parse(line: bytes) -> Entry:
    """Return the entry that a line holds.

    Raises:
        ValueError: it holds none, or another one than was written.
    """
    try:
        body = json.loads(line)
    except ValueError:
        raise ValueError("not an entry") from None
    if not isinstance(body, dict) or set(body) != _KEYS or not isinstance(body["seq"], int):
        raise ValueError("not an entry")
    digest = body.pop("hash")
    if digest != _digest(body):
        raise ValueError("changed: its hash is another one")
    actor = Actor(body.pop("uid"), body.pop("pid"), body.pop("sudo_user"))
    return Entry(actor=actor, hash=digest, **body)


def is_torn(line: bytes) -> bool:
    """Return whether a power cut can have left this of an entry: it has no end, or is no JSON."""
    if not line.endswith(b"\n"):
        return True
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def verify(lines: Iterable[tuple[str, bytes]], known: Head | None = None) -> Verdict:
    """Follow the chain through ``lines``, each with its place, and say everywhere it breaks.

    Args:
        lines: with their line breaks.
        known: a head that was told outside; it must be there.
    """
    breaks: list[Break] = []
    first: tuple[str, Entry] | None = None
    last = Head()
    pruned: set[Head] = set()
    entries = mended = first_at = 0
    is_known_met = known is None or known == Head()
    ends_torn = False
    for place, line in lines:
        ends_torn = is_torn(line)
        try:
            entry = parse(b"" if ends_torn else line)
        except ValueError as exc:
            breaks.append(Break(place, str(exc)))
            continue
        entries += 1
        mended += entry.act == MENDED
        if entry.act == PRUNED:
            pruned.add(Head(entry.about.get("through", 0), entry.about.get("hash", "")))
        if entry.act == SHORTENED:
            breaks.append(Break(place, f"cut off: the agent knew of entry {entry.about.get('known')}"))
        if first is None:
            first, first_at = (place, entry), len(breaks)
        elif entry.prev != last.hash or entry.seq != last.seq + 1:
            breaks.append(Break(place, _gap(last, entry)))
        last = entry.head
        is_known_met = is_known_met or last == known
    if ends_torn:
        breaks.pop()  # a power cut, not somebody: the next entry will tell of it
    if first is not None and (before := Head(first[1].seq - 1, first[1].prev)) not in pruned | {Head()}:
        breaks.insert(first_at, Break(first[0], f"entries 1 to {before.seq} are missing, and no entry tells why"))
    if not is_known_met and known is not None:
        what = "is missing" if known.seq > last.seq else "is another one"
        breaks.append(Break("end", f"entry {known.seq}, which was told outside, {what}"))
    return Verdict(first[1].seq if first else 0, last, entries, mended, ends_torn, tuple(breaks))


def _gap(last: Head, entry: Entry) -> str:
    if entry.seq > last.seq + 1:
        return f"entries {last.seq + 1} to {entry.seq - 1} are missing"
    if entry.seq <= last.seq:
        return f"entry {entry.seq} follows entry {last.seq}"
    return f"entry {entry.seq} was written behind another entry {last.seq}"


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(body)).hexdigest()
