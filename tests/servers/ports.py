"""A free port for a server that cannot choose one by itself."""

import random
import socket


def free_port(host: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that nobody listens on, below those that Linux gives to connections (ip(7), from 32768 on).

    One of those could be given to somebody else before the server has come up.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
