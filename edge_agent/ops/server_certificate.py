"""The certificate of the HTTPS server, taken up again when its files are renewed."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from edge_agent.edge_log import EdgeLog
from edge_agent.errors import EdgeAgentError

_log = logging.getLogger(__name__)


class ServerCertificate:
    """Reads two PEM files. Everything here blocks: call it on a thread.

    Attributes:
        context: TLS 1.2 or newer; sessions that begin after a renewal have the new certificate.

    Raises:
        EdgeAgentError: the files cannot be read, or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path, *, monotonic_s: Callable[[], float]) -> None:
        self._files = (certificate, key)
        self._log = EdgeLog(_log, monotonic_s, certificate=str(certificate))
        self._seen: object = None
        try:
            self.context = self._loaded()
            self._seen = self._stamps()
        except (OSError, ValueError) as exc:
            raise EdgeAgentError(f"cannot serve HTTPS with {certificate} and {key}: {exc}") from exc

    def renew(self) -> None:
        """Take up the files if they are others now; what cannot be used is told, and the old one stays."""
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            self._loaded()  # a trial: a context that failed half-way is of no use
            self.context.load_cert_chain(*self._files, password=_no_passphrase)
        except (OSError, ValueError) as exc:
            self._log.failed("the renewed certificate of the status page cannot be used", reason=str(exc))
        else:
            self._seen = stamps
            self._log.recovered("the certificate of the status page can be used again")
            _log.info("renewed the certificate of the status page", extra={"certificate": str(self._files[0])})

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files, password=_no_passphrase)
        return context

    def _stamps(self) -> object:
        return [(status.st_mtime_ns, status.st_ino) for status in (path.stat() for path in self._files)]


def _no_passphrase() -> str:
    """OpenSSL would ask at the terminal."""
    raise ValueError("the key has a passphrase; take it off: openssl pkey -in key.pem -out new.pem")
