"""Where a process can be reached, as the kernel tells it (proc(5), /proc/net)."""

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_LISTENS = "0A"  # TCP_LISTEN of linux/tcp_states.h
_UNCONNECTED = "07"  # TCP_CLOSE: a datagram or raw socket that takes from anybody
_ACCEPTS = 0x10000  # __SO_ACCEPTCON of linux/net.h


class Listener(NamedTuple):
    """A socket that others can reach: kind and address, or the path of a Unix socket; ``@`` = abstract."""

    kind: str
    address: str
    port: str = ""


def listeners(pid: int) -> set[Listener]:
    """Return every socket of the process at which a stranger can begin."""
    own = _own_sockets(pid)
    return {*_internet(pid, own), *_unix(pid, own)}


def _own_sockets(pid: int) -> set[str]:
    own = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was read
            link = str(entry.readlink())
            if link.startswith("socket:"):
                own.add(link.removeprefix("socket:[").removesuffix("]"))
    return own


def _internet(pid: int, own: set[str]) -> Iterator[Listener]:
    for kind in ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6"):
        table = Path(f"/proc/{pid}/net/{kind}")
        state = _LISTENS if kind.startswith("tcp") else _UNCONNECTED
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            words = line.split()
            if words[3] == state and words[9] in own:
                host, _, port = words[1].partition(":")
                yield Listener(kind, _address(host), str(int(port, 16)))


def _unix(pid: int, own: set[str]) -> Iterator[Listener]:
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[3], 16) & _ACCEPTS and words[6] in own:
            yield Listener("unix", words[7] if len(words) > 7 else "")


def _address(written: str) -> str:
    """Four bytes at a time, in the order of this machine."""
    words = [bytes.fromhex(written[at : at + 8]) for at in range(0, len(written), 8)]
    raw = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return str(ipaddress.ip_address(raw))
