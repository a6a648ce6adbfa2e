"""Which hosts are this machine alone."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether nobody but this machine can get at ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
