"""What the configuration says about operating the agent."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OpsOptions:
    """Where the agent can be watched and reached.

    Attributes:
        http_host: loopback unless configured.
        http_port: 0 = a free port, written to the log and to ``status``; None = no HTTP.
        control_socket: Unix socket for ``edge-agent status``, mode 0660.
        log_format: ``auto`` = text on a terminal, JSON otherwise.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        token: who knows it may look over TCP; None: everybody who gets there.
        certificate, key: PEM files of the HTTPS server; None: plain HTTP.
        files: hash of what is in these two; empty = there are none.
    """

    http_host: str
    http_port: int | None
    control_socket: Path
    log_format: str = "auto"
    log_level: str = "info"
    token: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    files: str = ""
