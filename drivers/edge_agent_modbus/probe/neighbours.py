"""Whether another program on this machine is connected to a device. Many devices take one client only.

Source: Linux, Documentation/networking/proc_net_tcp.rst.
"""

import ipaddress
import struct
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"


def is_connected(addresses: AbstractSet[str], port: int) -> bool:
    """Return whether there is a connection from this machine to ``port`` of one of ``addresses``.

    Connections of other network namespaces (containers) are not seen.
    """
    wanted = {_plain(ipaddress.ip_address(address.partition("%")[0])) for address in addresses}
    return any(port == peer_port and peer in wanted for peer, peer_port in _peers())


def _peers() -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    for table in _TABLES:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:  # no IPv6, or no procfs
            continue
        for line in lines:
            _, _, remote, state, *_ = line.split()
            address, _, port = remote.partition(":")
            if state == _ESTABLISHED:
                yield _plain(ipaddress.ip_address(_bytes(address))), int(port, 16)


def _bytes(address: str) -> bytes:
    """Return the bytes of an address that is printed as words of the machine's own order."""
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    return struct.pack(f"={len(words)}I", *words)


def _plain(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that an IPv6 socket was connected to."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
