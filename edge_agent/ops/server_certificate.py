"""The certificate of the HTTPS server; who connects after a change is shown the new one."""

import ssl

from edge_agent.errors import EdgeAgentError
from edge_agent.ops.options import OpsOptions


class ServerCertificate:
    """Shows one certificate until it is given another; connections that are open notice nothing.

    A context is never loaded anew while handshakes use it: one of them could get a certificate without its key.

    Attributes:
        context: for the listener.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = self._shown = context
        context.sni_callback = self._show

    def take(self, context: ssl.SSLContext) -> None:
        """Show the certificate of ``context`` from the next handshake on."""
        self._shown = context

    def _show(self, connection: ssl.SSLSocket | ssl.SSLObject, *_: object) -> None:
        """Called by OpenSSL in each handshake, whether the client names a server or not."""
        connection.context = self._shown


def server_context(options: OpsOptions) -> ssl.SSLContext | None:
    """Return what HTTPS needs of the disk, TLS 1.2 or newer; None = plain HTTP, or none. Blocks.

    Raises:
        EdgeAgentError: the files cannot be read, or do not belong together.
    """
    certificate, key = options.certificate, options.key
    if options.http_port is None or certificate is None or key is None:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as exc:
        raise EdgeAgentError(f"cannot serve HTTPS with {certificate} and {key}: {exc}") from exc
    return context


def _no_passphrase() -> str:
    """OpenSSL would ask at the terminal."""
    raise ValueError("the key has a passphrase; take it off: openssl pkey -in key.pem -out new.pem")
